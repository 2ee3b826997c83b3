internal import CProton
internal import Logging
internal import NIOCore
internal import Synchronization

/// What a connection holds of what has come, and what follows when it is too much: no more credit, then a closed window, and
/// as the last resort the socket is not read. It is used on the event loop alone.
final class ReceiveAccount {
    /// The most that comes with one read of the socket.
    static let read = 65_536
    /// The most bytes that wait for the socket to take them before it is read no more.
    private static let mostUnwritten = 4 * ConnectionHandler.writeBudget

    private unowned let handler: ConnectionHandler
    /// What the connection shares with others; nil where only the capacities of its sessions bound it.
    let budget: AMQPMemoryBudget?
    /// The bytes of the receivers: messages that arrive, wait, or hold their place in a window.
    private(set) var held = 0
    /// What is expected for the credit of the receivers.
    private var promisedHere = 0
    /// What the budget was told.
    private var reserved = 0
    private var isWaiting = false
    /// The socket is not read.
    private(set) var isReadingWithheld = false
    private var withholdTimer: Scheduled<Void>?
    /// It is not read because what has come has no room.
    private var isOverfull = false
    /// Counts what was freed, to see whether anything moves.
    private var freed = 0
    /// Receivers that hold something back in Proton.
    var heldBack = 0
    /// Credit or a window was refused for lack of room, which others may have made since.
    var wasShort = false

    init(_ handler: ConnectionHandler, _ budget: AMQPMemoryBudget?) {
        self.handler = handler
        self.budget = budget
    }

    func add(_ bytes: Int) {
        self.held += bytes
        if bytes < 0 { self.freed -= bytes }
    }

    // MARK: What is free

    /// The bytes for which the windows may be told; nil for no bound. What is above the low mark is for what is on its way.
    var room: Int? { self.budget.map { max(0, $0.low.bytes + 1 - $0.used) } }

    /// The bytes for which a session's window may be told. At or below the low mark there is room for a frame: nobody is called
    /// when the budget falls further.
    func sessionRoom(_ free: Int, frameSize: Int) -> Int {
        guard let room = self.room else { return free }
        if room == 0 { self.wasShort = true }
        return room > 0 ? min(free, max(frameSize, room / max(1, self.handler.sessions.count))) : 0
    }

    /// The bytes for which credit may be granted; nil for no bound.
    var creditRoom: Int? {
        self.budget.map { max(0, $0.low.bytes + 1 - $0.used - $0.promised.load(ordering: .relaxed)) }
    }

    /// The bytes that a session may begin with, of so many.
    func share(of capacity: Int) -> Int { self.budget.map { min(capacity, $0.limit.bytes / 8) } ?? capacity }

    /// What is expected for credit has changed.
    func promise(_ bytes: Int) {
        self.promisedHere += bytes
        self.budget?.promised.add(bytes, ordering: .relaxed)
    }

    /// The largest message that can become whole.
    var largestMessage: Int {
        self.budget.map { max($0.low.bytes / 2, $0.low.bytes - 2 * Self.read) } ?? .max
    }

    // MARK: What follows

    /// Tells the budget what there is now, and stops or resumes the reading of the socket.
    func update() {
        // A peer that does not read, and sends on, has answers written to it without end.
        let isUnwritten = self.handler.unwrittenBytes > Self.mostUnwritten
        guard self.budget != nil || self.heldBack > 0 || self.isReadingWithheld || isUnwritten else { return }
        var isOverfull = false
        var inProton = 0
        for session in self.handler.sessions.values where !session.isDone && session.ended.answer == nil {
            let bytes = Int(pn_session_incoming_bytes(session.session))
            inProton += bytes
            if bytes > session.incomingCapacity { isOverfull = true }
        }
        if let budget = self.budget {
            let hasFreed = self.tell(budget, self.held + inProton)
            if budget.used > max(budget.low.bytes, budget.limit.bytes - Self.read) { isOverfull = true }
            self.waitIfShort(budget)
            let hasRoom = self.wasShort && !self.isWaiting
            if hasRoom { self.wasShort = false }
            if hasFreed || hasRoom { self.useRoom() }
        }
        self.isOverfull = isOverfull
        self.withhold(isOverfull || isUnwritten)
    }

    /// Returns whether there is less than before.
    private func tell(_ budget: AMQPMemoryBudget, _ total: Int) -> Bool {
        let more = total - self.reserved
        self.reserved = total
        if more > 0 { budget.reserve(more) } else { budget.release(-more) }
        return more < 0
    }

    /// Windows and credit are looked at again.
    private func useRoom() {
        for session in self.handler.sessions.values {
            session.incomingTaken()
            for case let receiver as ReceiverEndpoint in session.links.values { receiver.topUp() }
        }
    }

    /// Comes back when the budget has room again, which others may have made.
    private func waitIfShort(_ budget: AMQPMemoryBudget) {
        guard budget.used > budget.low.bytes, !self.isWaiting else { return }
        self.isWaiting = true
        let bound = NIOLoopBound(self, eventLoop: self.handler.eventLoop)
        let mailbox = self.handler.mailbox
        budget.whenBelowLow(ObjectIdentifier(self)) { mailbox.run { _ in bound.value.hasRoom() } }
    }

    private func hasRoom() {
        self.isWaiting = false
        self.update()
        self.useRoom()
    }

    private func withhold(_ isOverfull: Bool) {
        guard isOverfull != self.isReadingWithheld, let context = self.handler.context else { return }
        self.isReadingWithheld = isOverfull
        if isOverfull {
            self.handler.logger.debug("the socket is not read: what has come, or is to be written, has no room")
            self.handler.suspendIdleTimeout()
            self.limitWithholding()
        } else {
            self.withholdTimer?.cancel()
            self.withholdTimer = nil
        }
        _ = context.channel.setOption(.autoRead, value: !isOverfull)
        if !isOverfull { context.read() }
    }

    /// What waits may wait for something that only the socket brings: a link is given up when nothing moves.
    private func limitWithholding() {
        let before = self.freed
        self.withholdTimer = self.handler.schedule(in: self.handler.configuration.operationTimeout) { [unowned self] in
            self.update()
            guard self.isReadingWithheld else { return }
            if self.isOverfull, self.freed == before { self.closeLargest() }
            self.limitWithholding()
        }
    }

    private func closeLargest() {
        var largest: ReceiverEndpoint?
        for session in self.handler.sessions.values {
            for case let receiver as ReceiverEndpoint in session.links.values where receiver.isLocallyOpen {
                guard receiver.accounted > 0 || receiver.isHeldBack else { continue }
                if receiver.accounted > largest?.accounted ?? -1 { largest = receiver }
            }
        }
        let text = "what has come of this link has no room, and nothing of it was taken or settled"
        largest?.close(AMQPError(.link, .resourceLimitExceeded, text))
    }

    /// The connection is gone, and what it held with it.
    func close() {
        self.withholdTimer?.cancel()
        guard let budget = self.budget else { return }
        if budget.withdraw(ObjectIdentifier(self)) { budget.serve() }
        budget.release(self.reserved)
        budget.promised.subtract(self.promisedHere, ordering: .relaxed)
        self.promisedHere = 0
        self.reserved = 0
        self.held = 0
    }
}

extension ConnectionHandler {
    /// A peer whose bytes are not read must not be taken for one that sends none.
    func suspendIdleTimeout() {
        guard self.configuration.idleTimeout != nil else { return }
        pn_transport_set_idle_timeout(self.engine.transport, 0)
        self.isIdleTimeoutSuspended = true
    }

    /// Bytes were read again: from here on the peer's silence counts.
    func resumeIdleTimeout() {
        guard self.isIdleTimeoutSuspended, let idle = self.configuration.idleTimeout else { return }
        self.isIdleTimeoutSuspended = false
        pn_transport_set_idle_timeout(self.engine.transport, pn_millis_t(clamping: idle.milliseconds))
    }
}
