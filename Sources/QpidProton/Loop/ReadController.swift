// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

/// The limit on a connection's received bytes: the controller withholds credit, then closes the window, and as the last
/// resort stops reading the socket. Used on the event loop only.
final class ReadController {
    /// The number of unwritten bytes above which the connection stops reading the socket.
    private static let mostUnwritten = 4 * SocketWriter.budget

    private unowned let handler: ConnectionHandler
    /// The connection's use of the memory budget. Exclusivity checks are off, because each access is one call on a
    /// plain value.
    @exclusivity(unchecked) var budget: ReceiveBudget
    /// The reservation of room for reads; `nil` without a memory budget or a socket.
    private let permit: ReadReservation?
    private var isWaiting = false
    private var isClosed = false
    /// Whether the connection has stopped reading the socket.
    private(set) var isReadingWithheld = false
    private var withholdTimer: LoopTimer?
    /// Whether reading has stopped because received bytes have no room.
    private var isOverfull = false
    /// The number of receivers with messages left in Proton.
    var heldBack = 0

    init(_ handler: ConnectionHandler, _ budget: AMQPMemoryBudget?, _ permit: ReadReservation?) {
        self.handler = handler
        self.budget = ReceiveBudget(budget)
        self.permit = permit
        budget?.joinReaders(margin: self.margin)
    }

    /// The most bytes of one read without a reservation.
    private var margin: Int { self.permit?.margin ?? ReceiveBudget.read }
    private var id: ObjectIdentifier { ObjectIdentifier(self) }
    /// The bytes that the next read may complete; 0 without limited reads.
    private var incomplete: Int { self.permit == nil ? 0 : self.handler.frames.incompleteBytes }

    /// Reports the current bytes to the budget, and stops or resumes reads of the socket.
    func update() {
        // A peer that sends and does not read would make the answers accumulate.
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

    /// Renews windows and credit within the new room.
    private func useRoom() {
        for session in self.handler.sessions.values {
            session.incomingTaken()
            for case let receiver as ReceiverEndpoint in session.links.values { receiver.topUp() }
        }
    }

    /// Waits until the budget has room again, possibly freed by other connections.
    private func waitIfShort() {
        guard self.budget.isShort, !self.isWaiting else { return }
        self.isWaiting = true
        let outbox = self.handler.outbox
        self.budget.shared?.whenBelowLow(self.id) { outbox.post(.connection(.receiveBudgetHasRoom)) }
    }

    /// Waits until the budget has room for a read.
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

    /// Closes the link that holds most bytes if no bytes are freed within `operationTimeout`. The application may be
    /// waiting for data that only the socket can deliver.
    private func limitWithholding() {
        let before = self.budget.freed
        self.withholdTimer = LoopTimer(of: self.handler, in: self.handler.configuration.operationTimeout) {
            [unowned self] in
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
        let text = "received messages of this link have no room, and none was received by a task or settled"
        largest?.close(AMQPError(scope: .link, condition: .resourceLimitExceeded, detail: text))
    }

    /// Returns the bytes of an ended connection to the budget.
    func close() {
        self.withholdTimer?.cancel()
        guard let shared = self.budget.shared, !self.isClosed else { return }
        self.isClosed = true
        if shared.withdraw(self.id) { shared.serve() }
        shared.release(self.budget.close() + (self.permit?.close() ?? 0))
        shared.leaveReaders(self.id, margin: self.margin)
    }

    // MARK: The idle timeout

    /// Suspends the idle timeout, because a peer whose bytes are not read must not count as silent.
    private func suspendIdleTimeout() {
        guard self.handler.configuration.idleTimeout != nil else { return }
        self.handler.engine.setIdleTimeout(nil)
        self.handler.isIdleTimeoutSuspended = true
    }

    /// Resumes the idle timeout. Bytes are read again, so the peer's silence counts from here.
    func resumeIdleTimeout() {
        guard !self.isReadingWithheld, let idle = self.handler.configuration.idleTimeout else { return }
        self.handler.isIdleTimeoutSuspended = false
        self.handler.engine.setIdleTimeout(idle)
    }
}
