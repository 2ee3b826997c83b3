// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

/// Waits until a condition holds; records an issue when it does not within the deadline.
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

/// A task that was begun, whose end is waited for with a deadline: a call that hangs fails its test and no other.
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

/// What was waited for did not come.
struct Overdue: Error {}

/// Begins a task that has run up to its first wait when this returns.
@discardableResult
func begin<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) -> Begun<Value> {
    Begun(body)
}

/// Something else came than what a test needs to go on.
struct Unexpected: Error {
    var what: String
}
