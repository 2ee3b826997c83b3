internal import Synchronization

/// One answer that arrives once, for any number of tasks that wait for it.
final class Reply<Value: Sendable>: Sendable {
    typealias Answer = Result<Value, AMQPError>

    private struct State {
        var answer: Answer?
        var nextID: UInt64 = 0
        var callbacks: [@Sendable (Answer) -> Void] = []
        var waiters: [(id: UInt64, continuation: CheckedContinuation<Answer, Never>)] = []
    }

    private let state = Mutex(State())

    /// Gives the answer. Returns false when there was one already: it stays.
    @discardableResult
    func resolve(_ answer: Answer) -> Bool {
        let waiting = self.state.withLock { state -> State? in
            guard state.answer == nil else { return nil }
            defer {
                state.answer = answer
                state.waiters = []
                state.callbacks = []
            }
            return state
        }
        guard let waiting else { return false }
        for waiter in waiting.waiters { waiter.continuation.resume(returning: answer) }
        for callback in waiting.callbacks { callback(answer) }
        return true
    }

    /// Calls `callback` with the answer, at once if there is one, else from where it is given.
    func whenResolved(_ callback: @escaping @Sendable (Answer) -> Void) {
        let answer = self.state.withLock { state in
            if state.answer == nil { state.callbacks.append(callback) }
            return state.answer
        }
        if let answer { callback(answer) }
    }

    var answer: Answer? { self.state.withLock { $0.answer } }

    /// Waits for the answer. A cancelled task stops waiting and throws; the answer stays open for the others.
    func value() async throws(AMQPError) -> Value {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
                let answer = self.state.withLock { state -> Answer? in
                    if let answer = state.answer { return answer }
                    // The handler of a task that is cancelled already has run and found no waiter.
                    if Task.isCancelled { return .failure(.cancelled) }
                    state.waiters.append((id, continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter = self.state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume(returning: .failure(.cancelled))
        }.get()
    }
}

extension AMQPError {
    static let cancelled = AMQPError(.local, .cancelled, "the waiting task was cancelled")
}
