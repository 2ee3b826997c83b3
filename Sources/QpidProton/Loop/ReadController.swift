internal import Logging
internal import NIOCore

/// What follows when a connection holds too much of what has come: no more credit, then a closed window, and as the last
/// resort the socket is not read. It is used on the event loop alone.
final class ReadController {
    /// The most bytes that wait for the socket to take them before it is read no more.
    private static let mostUnwritten = 4 * SocketWriter.budget

    private unowned let handler: ConnectionHandler
    /// Not checked for overlapping accesses: each is one call of a plain value.
    @exclusivity(unchecked) var budget: ReceiveBudget
    /// What bounds the reads of the socket; `nil` if they are not bounded, or come of no socket.
    private let permit: ReadReservation?
    private var isWaiting = false
    private var isClosed = false
    /// The socket is not read.
    private(set) var isReadingWithheld = false
    private var withholdTimer: LoopTimer?
    /// It is not read because what has come has no room.
    private var isOverfull = false
    /// Receivers that hold something back in Proton.
    var heldBack = 0

    init(_ handler: ConnectionHandler, _ budget: AMQPMemoryBudget?, _ permit: ReadReservation?) {
        self.handler = handler
        self.budget = ReceiveBudget(budget)
        self.permit = permit
        budget?.joinReaders(margin: self.margin)
    }

    /// What one read may bring for which no room was taken.
    private var margin: Int { self.permit?.margin ?? ReceiveBudget.read }
    private var id: ObjectIdentifier { ObjectIdentifier(self) }
    /// What the next read may complete, where reads are bounded.
    private var incomplete: Int { self.permit == nil ? 0 : self.handler.frames.incompleteBytes }

    /// Tells the budget what there is now, and stops or resumes the reading of the socket.
    func update() {
        // A peer that does not read, and sends on, has answers written to it without end.
        let isUnwritten = self.handler.unwrittenBytes > Self.mostUnwritten
        let isBounded = self.budget.shared != nil
        guard isBounded || self.heldBack > 0 || self.isReadingWithheld || isUnwritten, !self.isClosed else { return }
        var isOverfull = false
        var inProton = 0
        for session in self.handler.sessions.values where !session.isDone && session.ended.answer == nil {
            let bytes = session.session.incomingBytes
            inProton += bytes
            if bytes > session.incomingCapacity { isOverfull = true }
        }
        let more = self.budget.update(inProton: inProton)
        let owed = more - (self.permit?.end(leaving: self.handler.frames.incompleteBytes) ?? 0)
        if owed > 0 { self.budget.shared?.reserve(owed) } else { self.budget.shared?.release(-owed) }
        self.waitIfShort()
        let hasRoom = self.budget.wasShort && !self.isWaiting
        if hasRoom { self.budget.wasShort = false }
        let isFull = self.budget.shared?.isReadable(completing: self.incomplete) == false
        if isFull { self.waitUntilReadable() }
        self.isOverfull = isOverfull || isFull
        if isBounded, more < 0 || hasRoom { self.useRoom() }
        self.withhold(self.isOverfull || isUnwritten)
    }

    /// Windows and credit are looked at again.
    private func useRoom() {
        for session in self.handler.sessions.values {
            session.incomingTaken()
            for case let receiver as ReceiverEndpoint in session.links.values { receiver.topUp() }
        }
    }

    /// Comes back when the budget has room again, which others may have made.
    private func waitIfShort() {
        guard self.budget.isShort, !self.isWaiting else { return }
        self.isWaiting = true
        let outbox = self.handler.outbox
        self.budget.shared?.whenBelowLow(self.id) { outbox.post(.connection(.receiveBudgetHasRoom)) }
    }

    /// Comes back when there is room for a read.
    private func waitUntilReadable() {
        let outbox = self.handler.outbox
        self.budget.shared?.whenReadable(self.id, completing: self.incomplete) {
            outbox.post(.connection(.receiveBudgetIsReadable))
        }
    }

    func hasRoom() {
        self.isWaiting = false
        self.update()
        self.useRoom()
    }

    private func withhold(_ isOverfull: Bool) {
        guard isOverfull != self.isReadingWithheld, let context = self.handler.context else { return }
        self.isReadingWithheld = isOverfull
        if isOverfull {
            self.handler.logger.debug(
                "reading from the socket is suspended: received or unwritten bytes fill their limit"
            )
            self.suspendIdleTimeout()
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
        let before = self.budget.freed
        self.withholdTimer = self.handler.schedule(in: self.handler.configuration.operationTimeout) { [unowned self] in
            self.update()
            guard self.isReadingWithheld else { return }
            if self.isOverfull, self.budget.freed == before { self.closeLargest() }
            self.limitWithholding()
        }
    }

    private func closeLargest() {
        var largest: ReceiverEndpoint?
        for session in self.handler.sessions.values {
            for case let receiver as ReceiverEndpoint in session.links.values where receiver.isLocallyOpen {
                let held = receiver.account.share?.held ?? 0
                guard held > 0 || receiver.state.message.isHeldBack else { continue }
                if held > largest?.account.share?.held ?? -1 { largest = receiver }
            }
        }
        let text = "what has come of this link has no room, and nothing of it was taken or settled"
        largest?.close(AMQPError(scope: .link, condition: .resourceLimitExceeded, detail: text))
    }

    /// The connection is gone, and what it held with it.
    func close() {
        self.withholdTimer?.cancel()
        guard let shared = self.budget.shared, !self.isClosed else { return }
        self.isClosed = true
        if shared.withdraw(self.id) { shared.serve() }
        shared.release(self.budget.close() + (self.permit?.close() ?? 0))
        shared.leaveReaders(self.id, margin: self.margin)
    }

    // MARK: The idle timeout

    /// A peer whose bytes are not read must not be taken for one that sends none.
    private func suspendIdleTimeout() {
        guard self.handler.configuration.idleTimeout != nil else { return }
        self.handler.engine.setIdleTimeout(nil)
        self.handler.isIdleTimeoutSuspended = true
    }

    /// Bytes were read again: from here on the peer's silence counts.
    func resumeIdleTimeout() {
        guard !self.isReadingWithheld, let idle = self.handler.configuration.idleTimeout else { return }
        self.handler.isIdleTimeoutSuspended = false
        self.handler.engine.setIdleTimeout(idle)
    }
}
