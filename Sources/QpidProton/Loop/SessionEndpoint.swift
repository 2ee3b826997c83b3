// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import Logging
internal import NIOCore
internal import Synchronization

/// The loop's side of a session. Used on the event loop only.
final class SessionEndpoint {
    /// The session in Proton. Exclusivity checks are off, because each access is one call of Proton.
    @exclusivity(unchecked) private(set) var session: ProtonSession
    /// The owner of the session. A session that outlives the handler has ended, and never uses it.
    unowned let handler: ConnectionHandler
    let status: SessionStatus
    /// The links of the session, which every run visits in the same order.
    var links = SlotMap<LinkEndpoint>()
    private(set) var node: SlotKey?
    /// The state of the session. Exclusivity checks are off, because a change has no further effect.
    @exclusivity(unchecked) private var state = SessionState.open(isBlocked: true)
    /// The session from the peer's point of view, once the peer has begun it.
    private(set) var peer: PeerSession?
    private var incoming: IncomingWindow?
    private(set) var incomingCapacity = 0
    private(set) var incomingPeak = 0
    /// The number of transfers handed to Proton since its last output.
    private var handedTransfers = 0
    private var isTouched = false
    /// Whether senders answer a drain once their messages in Proton have been framed.
    var hasDrains = false
    /// The number of links that this side has opened and detached, without the peer's detach.
    var detaching = 0

    /// The bytes in Proton. Exclusivity checks are off, because each access is one call on a value.
    @exclusivity(unchecked) private var handed = HandedBytes()

    init(_ session: consuming ProtonSession, handler: ConnectionHandler) {
        self.session = session
        self.handler = handler
        self.status = SessionStatus(key: handler.sessions.nextKey)
        _ = handler.sessions.insert(self)
        self.session.setContext(self)
    }

    var opened: Reply<Void> { self.status.opened }
    var ended: EndReply { self.status.ended }
    var closed: Reply<Void> { self.status.closed }
    var report: CloseReport { self.status.report }

    /// Returns the endpoint of a session that has not been freed.
    static func of(_ session: ProtonSession.View) -> SessionEndpoint? {
        session.context(as: SessionEndpoint.self)
    }

    /// Whether the session has been freed, or the connection has ended.
    @inline(__always) var isDone: Bool { self.state.isDone }
    /// Whether no message of this session may enter Proton.
    @inline(__always) var isBlocked: Bool { self.state.isBlocked }
    var isLocallyOpen: Bool { self.state.isOpen && self.session.isLocallyActive }
    /// The answers to links of the peer that were refused or detached before this side has begun the session.
    private var answers: [() -> Void] = []

    // MARK: Opening

    /// Begins the session on this side.
    func open(_ configuration: AMQPSession.Configuration) throws(AMQPError) -> OpenedSession {
        let frame = self.handler.configuration.maxFrameSize.bytes
        guard configuration.incomingCapacity.bytes >= 2 * frame else {
            throw AMQPError(
                condition: .invalidArgument,
                detail:
                    "incomingCapacity is \(configuration.incomingCapacity): it must be at least twice maxFrameSize (\(self.handler.configuration.maxFrameSize))"
            )
        }
        guard configuration.outgoingWindow > 0, configuration.outgoingWindow <= Int32.max else {
            throw AMQPError(condition: .invalidArgument, detail: "outgoingWindow must be from 1 to 2,147,483,647")
        }
        try configuration.sendLimit.validateShared()
        self.incomingCapacity = configuration.incomingCapacity.bytes
        let incoming = IncomingWindow(
            capacity: max(2 * frame, self.handler.receiving.budget.share(of: configuration.incomingCapacity.bytes)),
            frameSize: frame,
            outgoingWindow: configuration.outgoingWindow
        )
        self.session.setIncomingWindow(
            transfers: incoming.disguised,
            frameSize: self.handler.frames.protonFrameSize
        )
        self.session.setOutgoingWindow(configuration.outgoingWindow)
        self.incoming = incoming
        self.peer?.incoming = incoming
        let node = self.handler.outbox.addLevel(configuration.sendLimit, parent: self.handler.node)
        self.node = node
        self.handler.channels.begin(self)
        return OpenedSession(status: self.status, node: node)
    }

    /// Whether the peer has begun the session and not ended it, so that it reads frames on it.
    var isHeardByPeer: Bool {
        self.session.isRemotelyActive && !self.handler.engine.isRemotelyClosed
    }

    var isBegunByPeer: Bool { !self.session.isRemotelyUnopened }

    /// Begins the session in Proton, which assigns a channel with the next output.
    func begin() {
        guard !self.isDone, self.session.isLocallyUnopened else { return }
        self.session.begin()
        self.answerLinks()
    }

    /// The parts of the session that tasks need; `nil` until this side has begun it.
    var openedHere: OpenedSession? { self.node.map { OpenedSession(status: self.status, node: $0) } }

    func remoteOpened(_ peer: PeerSession?) {
        self.handler.logger.debug("session begun")
        self.peer = peer
        peer?.incoming = self.incoming
        peer?.freeBytes = { [unowned self] in self.freeIncoming }
        peer?.onViolation = { [unowned self] in
            let text = "the peer sent more transfers than the incoming window of the session allows"
            self.close(AMQPError(scope: .session, condition: .sessionWindowViolation, detail: text))
        }
        peer?.onEarlyEnd = { [unowned self] in
            guard !self.isDone, self.session.isLocallyUnopened else { return }
            // The links end with the session.
            self.answers = []
            self.handler.channels.begin(self)
        }
        peer?.onChange = { [unowned self] in
            // A window closes at once, but opens only when Proton has read it.
            if self.peer?.window.available ?? 0 <= 0 { self.setBlocked(true) }
            self.touch()
        }
        peer?.senderState = { [unowned self] in self.senderState(of: $0) }
        self.updateBlocked()
        self.opened.resolve(.success(()))
        if self.state.take(.peerBegin) { self.session.end() }
    }

    /// Runs an answer to a link of the peer once this side has begun the session, because Proton drops earlier answers.
    func whenBegun(_ answer: @escaping () -> Void) {
        guard self.session.isLocallyUnopened else { return answer() }
        let configuration = self.handler.configuration
        guard self.answers.count < configuration.incomingLinkLimit + configuration.incomingLimit else {
            let text =
                "the peer attached and detached \(self.answers.count) links of a session that waits to be accepted"
            return self.handler.fail(AMQPError(scope: .connection, condition: .resourceLimitExceeded, detail: text))
        }
        self.answers.append(answer)
    }

    private func answerLinks() {
        let answers = self.answers
        self.answers = []
        for answer in answers { answer() }
    }

    /// Publishes the peer's figures of an attached link to its tasks.
    func observe(_ link: LinkEndpoint) {
        self.peer?.flows.observe(link.status, isReceiver: link is ReceiverEndpoint)
    }

    /// Returns the state of a sender, for a peer that requests it.
    private func senderState(of name: String) -> FlowFrame.Sender? {
        for case let sender as SenderEndpoint in self.links.values
        where sender.status.name.hasSameUTF8(as: name) {
            return sender.flowState
        }
        return nil
    }

    // MARK: Sending

    /// Updates the peak of the received bytes in Proton.
    func noteIncoming() {
        guard !self.isDone else { return }
        let held = self.session.incomingBytes
        if held > self.incomingPeak { self.incomingPeak = held }
    }

    /// Counts bytes handed to Proton. Their transfers never exceed the peer's window.
    func handOver(_ handed: InFlightBytes, transfers: Int) {
        self.handed.add(handed)
        self.count(transfers)
    }

    /// Counts an abort, which is a transfer without bytes and reduces Proton's count of bytes.
    func handedAbort() { self.count(1) }

    private func count(_ transfers: Int) {
        self.handedTransfers += transfers
        self.touch()
        if let peer = self.peer, peer.window.available <= self.handedTransfers { self.setBlocked(true) }
    }

    /// Returns the most bytes of one slice, so that its transfers of `payload` bytes fit into the peer's window.
    func sliceLimit(payload: Int) -> Int {
        max(1, ((self.peer?.window.available ?? 0) - self.handedTransfers) * payload - 1)
    }

    func touch() {
        guard !self.isTouched else { return }
        self.isTouched = true
        self.handler.touchedSessions.append(self)
    }

    /// Moves the framed bytes of a connection's sessions to the next write.
    static func takeFramed(of handler: ConnectionHandler) {
        // Usually there is one session.
        if handler.touchedSessions.count == 1 {
            handler.touchedSessions.removeLast().takeFramed(into: &handler.writer.pending)
        } else {
            for session in handler.touchedSessions { session.takeFramed(into: &handler.writer.pending) }
            handler.touchedSessions.removeAll(keepingCapacity: true)
        }
    }

    /// Moves the framed bytes of this session to the next write.
    private func takeFramed(into writes: inout PendingWrites) {
        self.isTouched = false
        guard !self.isDone else { return }
        self.handed.takeFramed(leaving: self.session.outgoingBytes, into: &writes)
        self.updateBlocked()
        guard self.hasDrains else { return }
        self.hasDrains = false
        // A sender with messages left in Proton requests another check itself.
        for sender in self.senders { sender.answerDrain() }
    }

    /// Checks whether the peer's window is open, after Proton's output and after changes of the peer.
    private func updateBlocked() {
        guard !self.isDone else { return }
        // While Proton holds bytes that it could not frame, it sees a smaller window than this type does.
        let isHeldBack = self.session.outgoingBytes > 0
        self.handedTransfers = 0
        self.setBlocked(isHeldBack || (self.peer?.window.available ?? 0) <= 0)
    }

    private func setBlocked(_ isBlocked: Bool) {
        guard isBlocked != self.isBlocked, self.state.take(isBlocked ? .block : .unblock) else { return }
        for case let sender as SenderEndpoint in self.links.values {
            guard let lane = sender.lane else { continue }
            self.handler.sending.queue.setBlocked(isBlocked, on: lane)
            sender.noteCause()
        }
    }

    /// The number of bytes that may arrive in addition to those in Proton.
    private var freeIncoming: Int {
        guard !self.isDone else { return 0 }
        let free = self.incomingCapacity - self.session.incomingBytes
        let frame = self.handler.configuration.maxFrameSize.bytes
        return self.handler.receiving.budget.sessionRoom(free, frameSize: frame, sessions: self.handler.sessions.count)
    }

    /// Checks the window for renewal, because Proton holds fewer received bytes.
    func incomingTaken() {
        if let peer = self.peer { self.handler.frames.renewals.look(at: peer) }
    }

    // MARK: Ending

    func close(_ error: AMQPError?) {
        guard self.state.isOpen else { return }
        self.endLocally(error, error ?? Self.closedError(by: .local))
        if let error { self.session.setError(error.fitted(to: self.handler.peerFrameSize)) }
        if self.session.isLocallyUnopened {
            // The peer has not seen a session that waits for a channel number.
            guard self.isBegunByPeer else { return self.finish(nil) }
            // To refuse a session that it has not begun, this side first begins it.
            self.handler.channels.begin(self)
        }
        // The peer's answering begin must arrive before the end: see ``ProtonSession/end()``.
        if self.session.isRemotelyUnopened {
            self.state.take(.endUnbegun)
            return
        }
        self.state.take(.end)
        self.session.end()
        if self.session.isRemotelyClosed { self.finish(nil) }
    }

    func remoteClosed() {
        let ending: AMQPError.Ending = self.opened.answer == nil ? .refused : .closed
        let error = self.session.remoteError(ending)
        self.handler.logger.debug("session ended by the peer", metadata: .amqp(error: error))
        if self.state.isOpen {
            self.endLocally(error, error ?? Self.closedError(by: .peer))
            self.state.take(.end)
            self.session.end()
            self.handler.isEndWaiting = true
        }
        self.finish(error)
    }

    /// Ends the session together with its connection.
    ///
    /// - Parameters:
    ///   - error: The error that ended the connection; `nil` for an orderly end.
    ///   - cause: The same error, or a description of the orderly end.
    func abandon(_ error: AMQPError?, _ cause: AMQPError) {
        guard !self.isDone else { return }
        self.endLocally(error, cause)
        self.session.abandon()
        self.state.take(.free)
        // The peer's answer to an orderly close of this side also answers the session's end.
        if error == nil, cause.origin == .local {
            let closed = self.closed
            self.handler.closed.whenResolved { closed.resolve($0) }
        } else {
            self.closed.resolve(.failure(cause))
        }
    }

    /// Frees a session whose opening failed on this side.
    func discard(_ error: AMQPError) {
        self.endLocally(error, error)
        self.finish(error)
    }

    private static func closedError(by side: AMQPError.Origin) -> AMQPError {
        let text = side == .peer ? "the peer ended the session" : "this side ended the session"
        return AMQPError(scope: .session, condition: .closed, detail: text, origin: side)
    }

    private func endLocally(_ error: AMQPError?, _ cause: AMQPError) {
        let snapshot = self.snapshot
        self.status.lastSnapshot.withLock { $0 = snapshot }
        self.leavePeer()
        self.ended.resolve(error.map { .failure($0) } ?? .success(cause))
        self.opened.resolve(.failure(cause))
        self.abandonLinks(error, cause)
        // Bytes in Proton are not written any more.
        let lost = self.handed.takeAll()
        self.handler.outbox.release(lost.map { ($0.bytes, $0.node) })
        self.handler.metrics?.lost(lost)
        for handed in lost { handed.settled?.resolve(.failure(cause.telling(.inDoubt))) }
        if let node = self.node { self.handler.outbox.closeLevel(node, cause) }
    }

    /// Ignores frames of the peer from now on.
    private func leavePeer() {
        self.answers = []
        self.peer?.onEarlyEnd = nil
        self.peer?.onChange = nil
        self.peer?.senderState = nil
        self.peer?.onViolation = nil
        self.peer?.incoming = nil
    }

    /// Ends all links with the session. If the peer ended the session, these links fail with an error.
    private func abandonLinks(_ error: AMQPError?, _ cause: AMQPError) {
        let error = error ?? (cause.origin == .peer ? cause : nil)
        for link in self.links.values { link.abandon(error, cause) }
        self.links.removeAll()
    }

    private func finish(_ error: AMQPError?) {
        guard !self.isDone else { return }
        // The peer may have begun the session after this side closed it.
        self.leavePeer()
        // A link that the peer attached after this side closed the session ends with the session.
        self.abandonLinks(error, error ?? Self.closedError(by: .local))
        self.state.take(.free)
        self.handler.sessions.remove(self.status.key)
        self.closed.resolve(error.map { .failure($0) } ?? .success(()))
        self.session.free()
    }
}
