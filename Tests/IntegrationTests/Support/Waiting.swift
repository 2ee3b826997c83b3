// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A deadline of a test has passed.
struct DeadlineMissed: Error, CustomStringConvertible {
    let what: String
    let limit: Duration
    var description: String { "not within \(self.limit): \(self.what)" }
}

/// Suspends until a condition holds; throws when that takes longer than the limit.
func waitUntil(
    _ what: @autoclosure () -> String,
    within limit: Duration = .seconds(60),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw DeadlineMissed(what: what(), limit: limit) }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Runs `body` in a task of its own; throws when it takes longer than the limit, even if it never ends.
func within<Success: Sendable>(
    _ what: String,
    limit: Duration = .seconds(60),
    _ body: @escaping @Sendable () async throws -> Success
) async throws -> Success {
    let (results, continuation) = AsyncStream<Result<Success, any Error>>.makeStream()
    let work = Task {
        do {
            continuation.yield(.success(try await body()))
        } catch {
            continuation.yield(.failure(error))
        }
    }
    let timer = Task {
        try await Task.sleep(for: limit)
        continuation.yield(.failure(DeadlineMissed(what: what, limit: limit)))
    }
    defer {
        timer.cancel()
        work.cancel()
    }
    for await result in results { return try result.get() }
    throw CancellationError()
}
