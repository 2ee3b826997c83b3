internal import Synchronization

/// One answer that arrives once, for any number of tasks that wait for it.
final class Reply<Value: Sendable>: Sendable {
    typealias Answer = Result<Value, AMQPError>

    private enum Waiter: Sendable {
        case task(id: UInt64, CheckedContinuation<Answer, Never>)
        case callback(@Sendable (Answer) -> Void)
    }

    /// Most replies have no waiter or one, which takes no memory of its own.
    private enum Waiters: Sendable {
        case none
        case one(Waiter)
        case several([Waiter])

        mutating func append(_ waiter: Waiter) {
            switch self {
            case .none: self = .one(waiter)
            case .one(let first): self = .several([first, waiter])
            case .several(var waiters):
                self = .none
                waiters.append(waiter)
                self = .several(waiters)
            }
        }

        mutating func remove(_ id: UInt64) -> CheckedContinuation<Answer, Never>? {
            switch self {
            case .one(.task(id, let continuation)):
                self = .none
                return continuation
            case .several(var waiters):
                for index in waiters.indices {
                    guard case .task(id, let continuation) = waiters[index] else { continue }
                    waiters.remove(at: index)
                    self = .several(waiters)
                    return continuation
                }
                return nil
            case .none, .one: return nil
            }
        }
    }

    private struct State {
        var answer: Answer?
        var nextID: UInt64 = 0
        var waiters = Waiters.none
    }

    private let state = Mutex(State())

    /// Gives the answer. Returns false when there was one already: it stays.
    @discardableResult
    func resolve(_ answer: Answer) -> Bool {
        let waiters = self.state.withLock { state -> Waiters? in
            guard state.answer == nil else { return nil }
            state.answer = answer
            defer { state.waiters = .none }
            return state.waiters
        }
        switch waiters {
        case nil: return false
        case .some(.none): break
        case .one(let waiter): Self.answer(waiter, answer)
        case .several(let waiters): for waiter in waiters { Self.answer(waiter, answer) }
        }
        return true
    }

    private static func answer(_ waiter: Waiter, _ answer: Answer) {
        switch waiter {
        case .task(_, let continuation): continuation.resume(returning: answer)
        case .callback(let callback): callback(answer)
        }
    }

    /// Calls `callback` with the answer, at once if there is one, else from where it is given.
    func whenResolved(_ callback: @escaping @Sendable (Answer) -> Void) {
        let answer = self.state.withLock { state in
            if state.answer == nil { state.waiters.append(.callback(callback)) }
            return state.answer
        }
        if let answer { callback(answer) }
    }

    var answer: Answer? { self.state.withLock { $0.answer } }

    /// Waits for the answer. A cancelled task stops waiting and throws; the answer stays open for the others.
    func value() async throws(AMQPError) -> Value {
        let (answer, id) = self.state.withLock { state in
            state.nextID += 1
            return (state.answer, state.nextID)
        }
        if let answer { return try answer.get() }
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
                let answer = self.state.withLock { state -> Answer? in
                    if let answer = state.answer { return answer }
                    // The handler of a task that is cancelled already has run and found no waiter.
                    if Task.isCancelled { return .failure(.cancelled) }
                    state.waiters.append(.task(id: id, continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let continuation = self.state.withLock { $0.waiters.remove(id) }
            continuation?.resume(returning: .failure(.cancelled))
        }.get()
    }
}

extension AMQPError {
    static let cancelled = AMQPError(.local, .cancelled, "the waiting task was cancelled")
}
