// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

/// Waits until a condition holds. Records an issue if it does not hold by the deadline.
func eventually(
    _ what: String,
    deadline: Duration = patience,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + deadline
    while try await !condition() {
        guard ContinuousClock.now < end else {
            Issue.record("not within \(deadline): \(what)", sourceLocation: sourceLocation)
            return
        }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// A running task whose result is awaited with a deadline, so that a hanging call fails only its own test.
struct Begun<Value: Sendable>: Sendable {
    fileprivate let state = State()
    fileprivate final class State: Sendable {
        let result = Mutex<Result<Value, any Error>?>(nil)
    }
    fileprivate let task: Task<Void, Never>

    fileprivate init(_ body: @escaping @Sendable () async throws -> Value) {
        let state = self.state
        let work: @Sendable () async -> Void = {
            let result: Result<Value, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            state.result.withLock { $0 = result }
        }
        if #available(macOS 26.0, *) {
            self.task = Task.immediate { await work() }
        } else {
            self.task = Task { await work() }
        }
    }

    var isDone: Bool { self.state.result.withLock { $0 != nil } }

    func cancel() { self.task.cancel() }

    var value: Value {
        get async throws {
            let end = ContinuousClock.now + patience
            while ContinuousClock.now < end {
                if let result = self.state.result.withLock({ $0 }) { return try result.get() }
                try await Task.sleep(for: .milliseconds(1))
            }
            throw Overdue()
        }
    }
}

/// The awaited result did not arrive in time.
struct Overdue: Error {}

/// Begins a task, and returns once the task has reached its first wait.
@discardableResult
func begin<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) -> Begun<Value> {
    Begun(body)
}

/// The test received an unexpected value and cannot continue.
struct Unexpected: Error {
    var what: String
}
