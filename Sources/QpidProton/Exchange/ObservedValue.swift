internal import Synchronization

/// A number that the loop changes, and whose next change tasks can wait for.
final class ObservedValue: Sendable {
    fileprivate struct State {
        var value = 0
        var end: AMQPError?
        var nextID: UInt64 = 0
        var waiters: [UInt64: WaitingTask<Result<Int, AMQPError>>] = [:]
    }

    private let state = Mutex(State())

    var value: Int { self.state.withLock { $0.value } }

    func set(_ value: Int) {
        let waiters = self.state.withLock { state -> [UInt64: WaitingTask<Result<Int, AMQPError>>]? in
            guard state.value != value else { return nil }
            state.value = value
            return state.waiters.isEmpty ? nil : state.takeWaiters()
        }
        guard let waiters else { return }
        for waiter in waiters.values { waiter.resume(returning: .success(value)) }
    }

    /// All who wait, now or later, get the error.
    func end(_ error: AMQPError) {
        let waiters = self.state.withLock { state in
            state.end = state.end ?? error
            return state.takeWaiters()
        }
        for waiter in waiters.values { waiter.resume(returning: .failure(error)) }
    }

    /// Suspends until the value is another than `known`, and returns it.
    func value(after known: Int) async throws(AMQPError) -> Int {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return try await withTaskCancellationHandler {
            await withWaitingTask { (continuation: WaitingTask<Result<Int, AMQPError>>) in
                let answer = self.state.withLock { state -> Result<Int, AMQPError>? in
                    if let error = state.end { return .failure(error) }
                    if state.value != known { return .success(state.value) }
                    if Task.isCancelled { return .failure(.cancelled) }
                    state.waiters[id] = continuation
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter = self.state.withLock { $0.waiters.removeValue(forKey: id) }
            waiter?.resume(returning: .failure(.cancelled))
        }.get()
    }
}

extension ObservedValue.State {
    fileprivate mutating func takeWaiters() -> [UInt64: WaitingTask<Result<Int, AMQPError>>] {
        defer { self.waiters = [:] }
        return self.waiters
    }
}
