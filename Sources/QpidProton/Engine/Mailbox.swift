internal import DequeModule
internal import NIOCore
internal import Synchronization

/// What tasks hand to the event loop of one connection: messages, settlements, and work to do there.
///
/// A call takes one short lock and wakes the loop at most once a batch. The ledgers are behind the same lock, so that a
/// message is counted and queued in one step.
final class Mailbox: Sendable {
    enum Item: Sendable {
        case message(PendingMessage, SlotKey)
        case settle(Settlement)
        case taken(Int, receiver: SlotKey)
        case run(@Sendable (ConnectionHandler) -> Void)
    }

    /// A message that waits for room.
    private struct Waiter: Sendable {
        let message: PendingMessage
        let lane: SlotKey
        let continuation: CheckedContinuation<Result<Void, AMQPError>, Never>
    }

    private struct State {
        var items: Deque<Item> = []
        var isScheduled = false
        var gate = SendGate<Waiter>()
        var nextID: UInt64 = 0
        var wake: (@Sendable () -> Void)?
        var closed: AMQPError?

        mutating func post(_ item: Item) -> (@Sendable () -> Void)? {
            self.items.append(item)
            guard !self.isScheduled else { return nil }
            self.isScheduled = true
            return self.wake
        }
    }

    private let state = Mutex(State())

    /// Sets what wakes the loop; what was posted before is taken at once.
    func open(wake: @escaping @Sendable () -> Void) {
        let isScheduled = self.state.withLock { state in
            state.wake = wake
            return state.isScheduled
        }
        if isScheduled { wake() }
    }

    /// Hands over one item. Returns false when the connection is gone.
    @discardableResult
    func post(_ item: Item) -> Bool {
        let (isOpen, wake) = self.state.withLock { state -> (Bool, (@Sendable () -> Void)?) in
            state.closed == nil ? (true, state.post(item)) : (false, nil)
        }
        wake?()
        return isOpen
    }

    /// Runs work on the loop; when the connection is gone, `otherwise` gets the reason in its place.
    func run(_ work: @escaping @Sendable (ConnectionHandler) -> Void, otherwise: (AMQPError) -> Void = { _ in }) {
        if !self.post(.run(work)) { otherwise(self.closedError) }
    }

    /// Why the connection is gone.
    var closedError: AMQPError {
        self.state.withLock { $0.closed } ?? AMQPError(.connection, .closed, "the connection is closed")
    }

    /// Takes what was posted; `spare` gives its storage for what comes next.
    ///
    /// After a take that finds something the loop comes back by itself, and posting does not wake it.
    func take(_ spare: inout Deque<Item>) {
        self.state.withLock { state in
            swap(&state.items, &spare)
            state.isScheduled = !spare.isEmpty
        }
    }
}

// MARK: Room

extension Mailbox {
    enum Admission { case admitted, full, closed }

    /// Counts a message and hands it over if there is room now.
    func tryEnqueue(_ message: PendingMessage, lane: SlotKey, node: SlotKey) -> Admission {
        let (admission, wake) = self.state.withLock { state -> (Admission, (@Sendable () -> Void)?) in
            guard state.gate.isOpen(node) else { return (.closed, nil) }
            guard state.gate.admit(message.ledgerBytes, at: node) else { return (.full, nil) }
            return (.admitted, state.post(.message(message, lane)))
        }
        wake?()
        return admission
    }

    /// Counts a message and hands it over as soon as there is room, in the order of the calls.
    ///
    /// Cancellation while it waits takes the message back.
    func enqueue(_ message: PendingMessage, lane: SlotKey, node: SlotKey) async throws(AMQPError) {
        if self.tryEnqueue(message, lane: lane, node: node) == .admitted { return }
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waiter = Waiter(message: message, lane: lane, continuation: continuation)
                if let (result, wake) = self.admitOrWait(waiter, id: id, node: node) {
                    wake?()
                    continuation.resume(returning: result)
                }
            }
        } onCancel: {
            self.cancelWait(id, node: node)
        }.get()
    }

    private func admitOrWait(
        _ waiter: Waiter,
        id: UInt64,
        node: SlotKey
    ) -> (Result<Void, AMQPError>, (@Sendable () -> Void)?)? {
        self.state.withLock { state in
            guard state.gate.isOpen(node) else { return (.failure(state.closed ?? .senderClosed), nil) }
            if Task.isCancelled { return (.failure(.sendCancelled), nil) }
            let bytes = waiter.message.ledgerBytes
            if state.gate.admit(bytes, at: node) {
                return (.success(()), state.post(.message(waiter.message, waiter.lane)))
            }
            state.gate.wait(waiter, id: id, bytes: bytes, at: node)
            return nil
        }
    }

    private func cancelWait(_ id: UInt64, node: SlotKey) {
        let (cancelled, passed) = self.state.withLock { state in
            let (cancelled, admitted) = state.gate.cancel(id, at: node)
            return (cancelled, Self.pass(admitted, &state))
        }
        cancelled?.continuation.resume(returning: .failure(.sendCancelled))
        Self.resume(passed)
    }

    /// Takes bytes off the ledgers and lets those in who have room now. Called on the loop.
    func release(_ releases: [(bytes: Int, node: SlotKey)]) {
        let passed = self.state.withLock { state -> Passed in
            var admitted: [Waiter] = []
            for (bytes, node) in releases { admitted += state.gate.release(bytes, at: node) }
            return Self.pass(admitted, &state)
        }
        Self.resume(passed)
    }

    private typealias Passed = (waiters: [Waiter], wake: (@Sendable () -> Void)?)

    private static func pass(_ admitted: [Waiter], _ state: inout State) -> Passed {
        var wake: (@Sendable () -> Void)?
        for waiter in admitted { wake = state.post(.message(waiter.message, waiter.lane)) ?? wake }
        return (admitted, wake)
    }

    private static func resume(_ passed: Passed) {
        passed.wake?()
        for waiter in passed.waiters { waiter.continuation.resume(returning: .success(())) }
    }

    func addLevel(_ limit: AMQPSendLimit?, parent: SlotKey?) -> SlotKey {
        let high = limit?.high.bytes ?? .max
        let low = limit?.low.bytes ?? .max
        return self.state.withLock { $0.gate.addLevel(ByteLedger(high: high, low: low), parent: parent) }
    }

    /// Closes a level: those who wait there get the error, and nothing more is admitted.
    func closeLevel(_ node: SlotKey, _ error: AMQPError) {
        let (refused, passed) = self.state.withLock { state in
            let (refused, admitted) = state.gate.closeLevel(node)
            return (refused, Self.pass(admitted, &state))
        }
        for waiter in refused { waiter.continuation.resume(returning: .failure(error)) }
        Self.resume(passed)
    }

    func ledger(_ node: SlotKey) -> ByteLedger? {
        self.state.withLock { $0.gate.ledger(node) }
    }

    /// Closes for good: nothing is posted or admitted any more. Returns what was posted and not taken.
    ///
    /// The levels of the links have been closed before, so that nobody waits.
    func close(_ error: AMQPError) -> Deque<Item> {
        self.state.withLock { state in
            defer {
                state.items = []
                state.gate = SendGate()
            }
            state.closed = state.closed ?? error
            state.wake = nil
            return state.items
        }
    }
}

extension AMQPError {
    static let senderClosed = AMQPError(.link, .closed, "not sent: the sender is closed")
    static let sendCancelled = AMQPError(
        .delivery,
        .cancelled,
        "not sent: the task was cancelled while it waited for room"
    )
}
