// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing

/// Waits until a condition holds. Records an issue if it does not hold by the deadline.
func eventually(
    _ what: String,
    deadline: Duration = patience,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    do {
        try await waitUntil(what, within: deadline, every: .milliseconds(1), condition)
    } catch let error as DeadlineMissed {
        Issue.record(error, sourceLocation: sourceLocation)
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
            try await waitFor("the end of a task that was begun", within: patience, every: .milliseconds(1)) {
                self.state.result.withLock { $0 }
            }.get()
        }
    }
}

/// Begins a task, and returns once the task has reached its first wait.
@discardableResult
func begin<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) -> Begun<Value> {
    Begun(body)
}

/// The test received an unexpected value and cannot continue.
struct Unexpected: Error {
    var what: String
}
