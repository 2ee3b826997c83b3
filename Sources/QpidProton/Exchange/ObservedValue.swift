// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A number that the loop changes, and whose next change tasks can await.
final class ObservedValue: Sendable {
    private typealias Waiters = WaitList<UInt64, WaitingTask<Result<Int, AMQPError>>>

    private struct State {
        var value = 0
        var end: AMQPError?
        var nextID: UInt64 = 0
        var waiters = Waiters()
    }

    private let state = Mutex(State())

    var value: Int { self.state.withLock { $0.value } }

    func set(_ value: Int) {
        self.state.withLock { state in
            guard state.value != value else { return Waiters() }
            state.value = value
            return state.waiters.takeAll()
        }.forEach { $0.resume(returning: .success(value)) }
    }

    /// Fails all current and later waiters.
    func end(_ error: AMQPError) {
        self.state.withLock { state in
            state.end = state.end ?? error
            return state.waiters.takeAll()
        }.forEach { $0.resume(returning: .failure(error)) }
    }

    /// Suspends until the value differs from `known`, and returns it.
    func value(after known: Int) async throws(AMQPError) -> Int {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return try await waitForAnswer { task in
            self.state.withLock { state -> Result<Int, AMQPError>? in
                if let error = state.end { return .failure(error) }
                if state.value != known { return .success(state.value) }
                if Task.isCancelled { return .failure(.cancelled) }
                state.waiters.append(id, task)
                return nil
            }
        } leave: {
            self.state.withLock { $0.waiters.remove(id) }
        }
    }
}
