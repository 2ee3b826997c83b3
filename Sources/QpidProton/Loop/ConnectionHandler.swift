internal import DequeModule
internal import Logging
internal import NIOCore
internal import NIOSSL
internal import Synchronization

/// The last handler of a connection's pipeline: it holds Proton, and moves bytes, events and the outbox through it.
///
/// Data goes one way: the outbox and the socket come in, Proton's events are acted upon, slices are handed to Proton,
/// its bytes are written, and the completion of the write takes them off the ledgers.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Role { case client, server }

    let role: Role
    let configuration: AMQPConnection.Configuration
    /// All lines carry the number of the connection, and the peer's container id once it is open.
    var logger: Logger
    let eventLoop: any EventLoop
    let outbox = Outbox()
    let engine: ProtonEngine
    /// The ledger of the whole connection.
    let node: SlotKey

    let opened = Reply<AMQPPeer>()
    /// The connection is of no more use; a failure when an error ended it.
    let ended = EndReply()
    /// The socket is closed.
    let closed = Reply<Void>()
    let incoming: WaitingQueue<IncomingRequest>

    // What is marked unchecked is changed on the event loop alone, in short steps that call nothing which comes back to it:
    // checking each for overlapping accesses took a tenth of the instructions of a round trip.
    @exclusivity(unchecked) var queue: SendQueue<SenderEndpoint>
    var sessions = SlotMap<SessionEndpoint>()
    var receivers = SlotMap<ReceiverEndpoint>()
    /// Who logged in; nil without a SASL layer. Answered before the connection is opened.
    let identity = Reply<AMQPAuthenticatedIdentity?>()
    /// The host that was connected to; nil on the server's side.
    let host: String?

    var context: ChannelHandlerContext?
    var isDead = false
    private var isClosedHere = false
    @exclusivity(unchecked) var header = HeaderCheck()
    let frames: FrameObserver
    /// Nil where the frames are not logged.
    private(set) var trace: FrameTrace?
    /// About how many bytes of a message fit into one frame of the peer.
    var transferPayload = 448
    /// What was chosen for messages that have not begun to be sent, by the numbers of their outcomes.
    var choices: [UInt: KeptChoice] = [:]
    /// Counts the mail that had choices.
    var choiceMail = 0
    /// When the next of them expires.
    var expiry = ExpiryTimer()
    /// A tag or a format was chosen for a message of this connection.
    var hasChosen = false

    // The pump's state, see ConnectionHandler+Pump.swift.
    var isPumping = false
    var isPumpNeeded = false
    /// The loop checks the outbox once more, at least to release the bytes that have been written.
    var isLookNeeded = false
    @exclusivity(unchecked) var mail = Outbox.Mail()
    /// Bytes that have left the process, or were given up, and are still on the ledgers.
    @exclusivity(unchecked) var releases: [Outbox.Release] = []
    @exclusivity(unchecked) var arrivedReceivers: [ReceiverEndpoint] = []
    /// Lanes that are gone, and why messages for them that lie in the outbox still are not sent.
    @exclusivity(unchecked) var endedLanes: [EndedLane] = []
    /// Receivers of which something was settled with the mail.
    @exclusivity(unchecked) var settlingReceivers: [ReceiverEndpoint] = []
    /// Receivers that have ended, until all their decisions are written or lost.
    var endingReceivers: [EndingReceiver] = []
    /// Receivers that have ended, and of which the application holds messages.
    var endedReceivers = EndedReceivers()
    @exclusivity(unchecked) var writes = WriteNumbers()
    /// Tasks that wait for the write with their decision.
    var writeWaits = WriteWaits()
    /// What its links leave unfinished when it is closed.
    let report = CloseReport()
    /// Senders that are closed as soon as they have nothing left to do.
    @exclusivity(unchecked) var flushing: [SenderEndpoint] = []
    /// Senders of which a message was given up that Proton has not been told to abort.
    @exclusivity(unchecked) var aborting: [SenderEndpoint] = []
    @exclusivity(unchecked) var touchedSessions: [SessionEndpoint] = []
    /// Lanes that got messages in this turn.
    @exclusivity(unchecked) var filledLanes: [SendQueue<SenderEndpoint>.Lane] = []
    @exclusivity(unchecked) var unwrittenBytes = 0 {
        didSet { if self.unwrittenBytes > self.unwrittenPeak { self.unwrittenPeak = self.unwrittenBytes } }
    }
    private(set) var unwrittenPeak = 0
    /// The time of the loop's clock when the loop last began to work here, in nanoseconds.
    var now: Int64 = 0
    /// What has come and holds memory. Set once, when the handler is made.
    private(set) var receiving: ReadController!
    var isIdleTimeoutSuspended = false
    /// Something that the peer has ended or detached is to be answered, before anything is begun or attached in its place.
    var isEndWaiting = false
    /// How long the channel numbers of ended sessions have rested.
    var channelRest = ChannelRest()
    /// The sessions that keep Proton from taking a channel number.
    var heldChannels: [UInt16: ProtonChannelHolder] = [:]
    var holdTimer: LoopTimer?
    /// Sessions that are begun when a channel number has rested.
    var waitingBegins: [SessionEndpoint] = []
    private var linkNumber: UInt64 = 0
    /// The links that the peer has attached of itself, until both sides have detached.
    var linksOfPeer = 0
    /// The most links of a session that this side has detached and the peer has not.
    var detachLimit = 8_192
    /// Nil where nothing is reported.
    let metrics: FlowMetrics?
    /// Tells what keeps links from moving. Set once, when the handler is made.
    private(set) var watch: StallMonitor!
    @exclusivity(unchecked) var isFlushNeeded = false
    @exclusivity(unchecked) var pendingWrites = PendingWrites()
    /// Whether the channel is writable only while it holds nothing: its water marks are 1, and nothing before it keeps bytes back.
    let confirmsByWritability: Bool
    /// What was written last, whose memory is used again.
    @exclusivity(unchecked) var output: ByteBuffer?
    var tick: (deadline: Int64, timer: LoopTimer)?
    var closeTimer: LoopTimer?
    /// See ``scheduleIdleLook()``.
    var idleLook: LoopTimer?

    init(
        role: Role,
        host: String? = nil,
        configuration: AMQPConnection.Configuration,
        eventLoop: any EventLoop,
        logger: Logger,
        permit: ReadReservation? = nil,
        confirmsByWritability: Bool = false
    ) throws(AMQPError) {
        try configuration.validate()
        self.confirmsByWritability = confirmsByWritability
        self.role = role
        self.host = host
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        self.logger[.connection] = "\(Self.count.add(1, ordering: .relaxed).newValue)"
        self.engine = try ProtonEngine()
        self.metrics = configuration.metrics.map { FlowMetrics($0) }
        self.incoming = WaitingQueue()
        self.frames = FrameObserver(
            maxFrameSize: UInt32(clamping: configuration.maxFrameSize.bytes),
            openLinks: configuration.incomingLinkLimit + configuration.incomingLimit
        )
        self.queue = SendQueue(lowShare: configuration.lowPriorityShare)
        self.node = self.outbox.addLevel(configuration.sendLimit, parent: nil)
        self.receiving = ReadController(self, configuration.receiveBudget, permit)
        self.watch = StallMonitor(self)
        self.frames.onEnd = { [unowned self] in self.sessionEnded(on: $0, isOver: $1) }
        self.frames.onOpenSent = { [unowned self] in
            // The open has announced the smaller size. A peer's frame that is larger than that never comes here.
            self.engine.setMaxFrameSize(self.frames.protonFrameSize)
        }
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        // Until the handler is removed: not for one that never comes into a pipeline.
        if let budget = self.configuration.sendBudget { self.outbox.share(budget) }
        let pump: @Sendable () -> Void = { bound.value.pump() }
        self.outbox.open { [eventLoop] in eventLoop.execute(pump) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.die(self.lost)
        self.context = nil
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let completed = event as? SASLCompleted { self.identity.resolve(.success(completed.identity)) }
        if let event = event as? ChannelEvent, event == .inputClosed {
            self.engine.closeRead()
            self.pump()
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelActive(context: ChannelHandlerContext) {
        do {
            try self.start()
        } catch {
            self.die(error)
        }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isDead else { return }
        self.now = self.nanoseconds
        let buffer = self.unwrapInboundIn(data)
        if !self.header.isPassed, let refusal = self.header.check(buffer) { return self.fail(refusal) }
        if let violation = buffer.withUnsafeReadableBytes({ self.read($0) }) {
            // As if what is wrong had come in a read of its own.
            self.processEvents()
            return self.fail(violation)
        }
        if self.isIdleTimeoutSuspended, !self.receiving.isReadingWithheld { self.resumeIdleTimeout() }
        self.processEvents()
        self.receiving.update()
    }

    /// Hands bytes of the peer to Proton. Returns what is wrong in them; Proton has then seen all that came before.
    private func read(_ bytes: UnsafeRawBufferPointer) -> AMQPError? {
        self.trace?.received(bytes)
        var rest = bytes
        while true {
            let reading = self.frames.received(rest)
            self.frames.forEachPart(of: UnsafeRawBufferPointer(rebasing: rest[..<reading.count])) {
                _ = self.engine.read($0)
            }
            guard reading.violation == nil, reading.count < rest.count else { return reading.violation }
            rest = UnsafeRawBufferPointer(rebasing: rest[reading.count...])
            // The frames so far are answered before Proton sees the next one.
            self.processEvents()
            self.frames.beginEndedEarly()
            while !self.isDead, self.produce() {}
            guard !self.isDead else { return nil }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.pump(isFresh: true)
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.die(self.lost)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let cause = self.translate(error)
        self.logger.debug("connection failed", metadata: .amqp([.detail: "\(error)"], error: cause))
        self.die(cause)
    }

    func translate(_ error: any Error) -> AMQPError {
        if let error = error as? AMQPError { return error }
        let tls = try? self.context?.pipeline.syncOperations.handler(type: NIOSSLHandler.self)
        var translated =
            error is ChannelError
            ? self.lost
            : AMQPTLSErrors.translate(error, host: self.host, handler: tls)
                ?? AMQPError(scope: .connection, condition: .connectionLost, detail: NetworkError.cause(error))
        translated.underlying = error
        return translated
    }

    /// The error that Proton found, if there is one.
    var transportError: AMQPError? {
        guard let error = self.engine.transportError else { return nil }
        guard error.condition == .resourceLimitExceeded, error.detail == ProtonEngine.idleTimeoutText else {
            return error
        }
        let limit = self.configuration.idleTimeout.map { " for \($0)" } ?? ""
        return AMQPError(
            scope: .connection,
            condition: .idleTimeout,
            detail: "nothing came from the peer\(limit)"
        )
    }

    var endError: AMQPError? {
        if case .failure(let error)? = self.ended.answer { return error }
        return nil
    }

    /// Why the connection was given up before it was open.
    private var openError: AMQPError? {
        if case .failure(let error)? = self.opened.answer { return error }
        return nil
    }

    private var lost: AMQPError {
        AMQPError(
            scope: .connection,
            condition: .connectionLost,
            detail: "the peer closed the socket without closing the connection"
        )
    }

    // MARK: Starting

    private func start() throws(AMQPError) {
        ProtonVersion.check(self.logger)
        let configuration = self.configuration
        if self.role == .server { self.engine.setServer() }
        self.engine.setMaxFrameSize(configuration.maxFrameSize.bytes)
        self.engine.setChannelMax(configuration.channelMax)
        if let idle = configuration.idleTimeout { self.engine.setIdleTimeout(idle) }
        self.engine.setContainerID(configuration.containerID ?? Self.makeContainerID())
        self.engine.setHostname(configuration.virtualHost)
        try self.engine.setCapabilities(
            offered: configuration.offeredCapabilities,
            desired: configuration.desiredCapabilities
        )
        try self.engine.setProperties(configuration.properties)
        self.watch.start()
        self.watchFrameSizes()
        self.engine.log(to: self.logger)
        if configuration.tracesFrames { self.trace = FrameTrace(self.logger) }
        self.engine.bind()
        if self.role == .client { self.engine.open() }
        self.pump()
    }

    private static func makeContainerID() -> String {
        "swift-qpid-proton-" + String(UInt64.random(in: .min ... .max), radix: 36)
    }

    // MARK: Ending

    /// Closes the connection from this side; the peer has `operationTimeout` to answer.
    func close(_ error: AMQPError?) {
        guard !self.isDead, self.ended.answer == nil, !self.engine.isLocallyClosed else { return }
        self.isClosedHere = true
        self.end(error, AMQPError(scope: .connection, condition: .closed, detail: "the connection was closed"))
        if let error { self.engine.setError(error.fitted(to: self.peerFrameSize)) }
        if self.engine.isLocallyUnopened { self.engine.open() }
        self.engine.close()
    }

    /// A peer that does not answer the close, or does not read it, must not hold the socket for ever.
    private func limitClose() {
        guard !self.isDead, self.closeTimer == nil else { return }
        let timeout = self.configuration.operationTimeout
        self.closeTimer = self.schedule(in: timeout) { [unowned self] in
            self.die(AMQPError(condition: .timeout, detail: "the peer did not answer the close within \(timeout)"))
        }
    }

    func remoteClosed() {
        let ending: AMQPError.Ending = self.opened.answer == nil ? .refused : .closed
        let error = self.engine.remoteError(ending)
        self.logger.debug("connection closed by the peer", metadata: .amqp(error: error))
        self.end(
            error,
            AMQPError(scope: .connection, condition: .closed, detail: "the peer closed the connection", origin: .peer)
        )
        if !self.engine.isLocallyClosed { self.engine.close() }
    }

    /// Tells the peer an error of the transport, as far as it still listens, and ends.
    func fail(_ error: AMQPError) {
        guard !self.isDead else { return }
        self.sayFarewell(error)
        self.engine.fail(error)
        self.end(error, error)
        self.flush()
        self.pump()
    }

    /// Answers all who wait on the connection. The socket may still have a close to carry.
    func end(_ error: AMQPError?, _ cause: AMQPError) {
        self.limitClose()
        if self.ended.resolve(error.map { .failure($0) } ?? .success(cause)) {
            self.metrics?.ended(self.openError ?? error)
        }
        self.opened.resolve(.failure(error ?? cause))
        let sessionError = error ?? (cause.origin == .peer ? cause : nil)
        for session in self.sessions.values { session.abandon(sessionError, error ?? cause) }
        self.sessions.removeAll()
        // What the peer asked for cannot be accepted any more.
        _ = self.incoming.removeAll()
        self.incoming.finish(error)
        let mail = self.outbox.close(error ?? cause)
        self.settleEnded(mail.settlements)
        let unsent = (error ?? cause).telling(.notSent)
        var unsentCount = 0
        defer { self.logGivenUp(unsentCount, unsettled: 0, link: nil, error ?? cause) }
        for item in mail.items {
            switch item {
            case .message(let message):
                unsentCount += 1
                self.metrics?.count(unsent, of: message)
                if let lane = self.endedLanes.first(where: { $0.key == message.lane }) {
                    lane.fail(message, mail.choices[message.outcome.number]?.options ?? AMQPSendOptions())
                } else {
                    message.fail(unsent)
                }
            case .part(let part): part.bytes.done()
            case .taken, .command: break
            }
        }
        for command in mail.commands { self.perform(command) }
    }

    /// The socket is gone, or of no more use.
    func die(_ error: AMQPError) {
        guard !self.isDead else { return }
        // An error that Proton found, such as an idle timeout, tells more than the loss that follows from it.
        let error = self.transportError ?? error
        self.end(error, error)
        self.isDead = true
        if self.writes.isIdle { self.writeWaits.fail(error) }
        self.reportUnsent()
        self.flushing = []
        self.waitingBegins = []
        self.watch.stop()
        self.receiving.close()
        self.tick?.timer.cancel()
        self.closeTimer?.cancel()
        self.idleLook?.cancel()
        self.expiry.cancel()
        if self.isClosedHere {
            self.closed.resolve(self.closeAnswer(error))
        } else {
            self.closed.resolve(self.endError.map { .failure($0) } ?? .success(()))
        }
        self.context?.close(promise: nil)
        self.loseUnpromisedWrites(error)
    }

    /// What the peer answered to the close of this side, or why it did not.
    private func closeAnswer(_ error: AMQPError) -> Result<Void, AMQPError> {
        guard !self.engine.isRemotelyClosed else {
            return self.engine.remoteError(.closed).map { .failure($0) } ?? .success(())
        }
        guard error.condition == .closed || error.condition == .connectionLost else { return .failure(error) }
        var lost = error
        (lost.condition, lost.ending) = (.connectionLost, .lost)
        lost.detail = "the peer closed the socket without answering the close"
        return .failure(lost)
    }

    /// Warns of accepted messages that fail because their link, or what it is on, has ended.
    func logGivenUp(_ unsent: Int, unsettled: Int, link: LinkEndpoint?, _ cause: AMQPError) {
        guard unsent + unsettled > 0 else { return }
        var metadata = Logger.Metadata.amqp([.unsent: "\(unsent)", .unsettled: "\(unsettled)"], error: cause)
        if let link { metadata.merge(link.logMetadata()) { $1 } }
        self.logger.warning("messages were given up: their sender has ended", metadata: metadata)
    }

    /// Numbers the connections of the process, for the log.
    private static let count = Atomic(0)

    func makeLinkNumber() -> UInt64 {
        self.linkNumber += 1
        return self.linkNumber
    }

    // MARK: Time

    /// The time of the loop's clock.
    var nanoseconds: Int64 { Int64(clamping: self.eventLoop.now.uptimeNanoseconds) }

    func deadline(in duration: Duration) -> NIODeadline {
        self.eventLoop.now + .nanoseconds(duration.nanoseconds)
    }

    func schedule(in duration: Duration, _ work: @escaping () -> Void) -> LoopTimer {
        self.schedule(at: self.deadline(in: duration), work)
    }

    /// Runs work on the loop at a time, and what follows from it.
    func schedule(at deadline: NIODeadline, _ work: @escaping () -> Void) -> LoopTimer {
        // Held strongly: a weak reference would make every count of the handler's references slow, for good.
        LoopTimer(on: self.eventLoop, at: deadline) {
            guard !self.isDead else { return }
            // What keeps links from moving is timed by it: the work may end a wait that began before it.
            self.now = self.nanoseconds
            work()
            self.pump()
        }
    }
}
