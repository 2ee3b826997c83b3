// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore
internal import Synchronization

/// The last handler of a connection's pipeline. It owns Proton, and moves bytes, events and the tasks' mail through it.
///
/// Data moves in one direction. The outbox and the socket are the inputs. The handler processes Proton's events, hands
/// slices to Proton, and writes Proton's output. A completed write removes its bytes from the ledgers.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Role { case client, server }

    let role: Role
    let configuration: AMQPConnection.Configuration
    /// The logger of the connection. All lines carry the connection's number, and the peer's container-id once the peer
    /// has opened the connection.
    var logger: Logger
    let eventLoop: any EventLoop
    let outbox = Outbox()
    let engine: ProtonEngine
    /// The ledger of the whole connection.
    let node: SlotKey

    let opened = Reply<AMQPPeer>()
    /// The end of the connection; a failure if an error ended it.
    let ended = EndReply()
    /// The result of the close, once the socket is closed.
    let closed = Reply<Void>()
    let incoming: WaitingQueue<IncomingRequest>

    var sessions = SlotMap<SessionEndpoint>()
    var receivers = SlotMap<ReceiverEndpoint>()
    /// The authenticated identity; `nil` without a SASL layer. The SASL layer sets it before the connection opens.
    let identity = Reply<AMQPAuthenticatedIdentity?>()
    /// The unfinished work of the connection's links during a close.
    let report = CloseReport()

    // The parts of the connection.
    let frames: FrameObserver
    let reader: SocketReader
    let mail: MailReader
    let sending: SendFeed
    let writer: SocketWriter
    let timers = ConnectionTimers()
    /// The controller of reads by the received bytes in memory. Set once in `init`, like the next two.
    @exclusivity(unchecked) private(set) var receiving: ReadController!
    private(set) var channels: ChannelNumbers!
    /// The monitor that reports the causes that block links.
    private(set) var watch: StallMonitor!
    /// The metrics of the connection; `nil` if none are reported.
    let metrics: FlowMetrics?
    let errors: ConnectionErrors
    var choices = SendChoices()
    @exclusivity(unchecked) var decisionWrites = DecisionWrites()
    /// Answers about messages that outlive their links.
    let ownedAnswers = OwnedAnswers()

    var context: ChannelHandlerContext?
    var isDead = false
    private var isClosedHere = false
    /// Whether Proton ignores the peer's silence.
    var isIdleTimeoutSuspended = false

    // The pump's state, see ConnectionHandler+Pump.swift.
    var isPumping = false
    var isPumpNeeded = false
    /// Whether the loop checks the outbox once more, at least to release written bytes.
    var isLookNeeded = false
    // Changed on the event loop only and never re-entered, so exclusivity checks are off (they cost 10 % of a round
    // trip).
    /// Receivers with new messages in this turn.
    @exclusivity(unchecked) var arrivedReceivers: [ReceiverEndpoint] = []
    /// Receivers with settlements in the mail.
    @exclusivity(unchecked) var settlingReceivers: [ReceiverEndpoint] = []
    /// Sessions that have handed bytes to Proton since its last output.
    @exclusivity(unchecked) var touchedSessions: [SessionEndpoint] = []
    /// The time of the loop's clock at the start of the current work, in nanoseconds.
    var now: Int64 = 0
    /// Whether Proton must answer an end or a detach of the peer before it reads a begin or attach in its place.
    var isEndWaiting = false

    /// The number of links so far, which is also the number of the newest link.
    var linkCount: UInt64 = 0
    /// The number of links that the peer has attached on its own, until both sides have detached.
    var linksOfPeer = 0
    /// The most links of a session that this side has detached and the peer has not.
    var detachLimit = 8_192

    /// The bytes that the socket has not accepted.
    @inline(__always) var unwrittenBytes: Int { self.writer.unwrittenBytes }
    @inline(__always) var writes: WriteNumbers { self.writer.numbers }
    /// The largest frame that the peer accepts, in bytes.
    var peerFrameSize: Int { self.frames.peerMaxFrameSize }

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
        self.role = role
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
        self.sending = SendFeed(lowShare: configuration.lowPriorityShare)
        self.reader = SocketReader(self.frames)
        self.mail = MailReader(self.outbox, self.sending)
        self.writer = SocketWriter(confirmsByWritability: confirmsByWritability)
        self.errors = ConnectionErrors(host: host, idleTimeout: configuration.idleTimeout)
        self.node = self.outbox.addLevel(configuration.sendLimit, parent: nil)
        self.receiving = ReadController(self, configuration.receiveBudget, permit)
        self.channels = ChannelNumbers(self)
        self.watch = StallMonitor(self)
        self.frames.onEnd = { [unowned self] in self.channels.ended($0, isOver: $1) }
        self.frames.onOpenSent = { [unowned self] in
            // The sent open announces the smaller size. The observer stops a larger frame of the peer before Proton
            // reads it.
            self.engine.setMaxFrameSize(self.frames.protonFrameSize)
        }
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        // The connection shares the budget until the pipeline removes the handler. A handler that never enters a
        // pipeline must not share it.
        if let budget = self.configuration.sendBudget { self.outbox.share(budget) }
        let pump: @Sendable () -> Void = { bound.value.pump() }
        self.outbox.open { [eventLoop] in eventLoop.execute(pump) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.die(self.errors.lost)
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
        if let refusal = self.reader.checkHeader(buffer) { return self.fail(refusal) }
        if let violation = buffer.withUnsafeReadableBytes({ self.reader.read($0, for: self) }) {
            // The events of earlier frames come first, as if the wrong frame had arrived in a separate read.
            self.processEvents()
            return self.fail(violation)
        }
        if self.isIdleTimeoutSuspended { self.receiving.resumeIdleTimeout() }
        self.processEvents()
        self.receiving.update()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.pump(isFresh: true)
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.die(self.errors.lost)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let cause = self.errors.translate(error, context)
        self.logger.debug("connection failed", metadata: .amqp([.detail: "\(error)"], error: cause))
        self.die(cause)
    }

    /// The error that ended the connection.
    var gone: AMQPError {
        self.ended.cause ?? AMQPError(scope: .connection, condition: .closed, detail: "the connection is closed")
    }

    // MARK: Starting

    private func start() throws(AMQPError) {
        ProtonVersion.check(self.logger)
        try self.engine.configure(self.configuration, isServer: self.role == .server)
        self.watch.start()
        self.frames.onLargeFrame = { [unowned self] in
            self.logger.sentLargeFrame(ofSize: $0, isOpen: $1, limit: self.peerFrameSize)
        }
        self.engine.log(to: self.logger)
        if self.configuration.tracesFrames {
            let trace = FrameTrace(self.logger)
            (self.reader.trace, self.writer.trace) = (trace, trace)
        }
        self.engine.bind()
        if self.role == .client { self.engine.open() }
        self.timers.watchAcknowledgements(of: self)
        self.pump()
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

    /// Sends an error of the transport to the peer, if possible, and ends the connection.
    func fail(_ error: AMQPError) {
        guard !self.isDead else { return }
        self.writer.sayFarewell(error, for: self)
        self.engine.fail(error)
        self.end(error, error)
        self.flush()
        self.pump()
    }

    /// Answers all waiting calls of the connection. The socket may still have to send a close.
    func end(_ error: AMQPError?, _ cause: AMQPError) {
        self.timers.limitClose(of: self)
        if self.ended.resolve(error.map { .failure($0) } ?? .success(cause)) {
            self.metrics?.ended(self.opened.answer?.failure ?? error)
        }
        self.opened.resolve(.failure(error ?? cause))
        let sessionError = error ?? (cause.origin == .peer ? cause : nil)
        for session in self.sessions.values { session.abandon(sessionError, error ?? cause) }
        self.sessions.removeAll()
        // The application can no longer accept requests of the peer.
        _ = self.incoming.removeAll()
        self.incoming.finish(error)
        self.mail.close(error ?? cause, for: self)
    }

    /// Handles the end of the socket.
    func die(_ error: AMQPError) {
        guard !self.isDead else { return }
        // Proton's own error, such as an idle timeout, explains more than the loss that follows it.
        let error = self.errors.transportError(of: self.engine) ?? error
        self.end(error, error)
        self.isDead = true
        self.decisionWrites.fail(error, self.writes)
        self.decisionWrites.report(self.writes, isDead: true)
        self.sending.close()
        self.channels.close()
        self.watch.stop()
        self.receiving.close()
        self.timers.cancel()
        let ended = self.ended.answer?.failure.map { Result<Void, AMQPError>.failure($0) } ?? .success(())
        self.closed.resolve(self.isClosedHere ? self.errors.closeAnswer(error, self.engine) : ended)
        self.context?.close(promise: nil)
        if let lost = self.writer.takeUnpromised() { self.confirm(lost, .failure(error)) }
    }

    /// The number of connections of the process so far, for the log.
    private static let count = Atomic(0)

    // MARK: Time

    /// The time of the loop's clock.
    var nanoseconds: Int64 { Int64(clamping: self.eventLoop.now.uptimeNanoseconds) }

    func deadline(in duration: Duration) -> NIODeadline {
        self.eventLoop.now + .nanoseconds(duration.nanoseconds)
    }
}
