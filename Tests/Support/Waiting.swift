// SPDX-License-Identifier: Apache-2.0

/// The factor by which a test may be slower than in a plain build. A sanitizer slows every step, and all tests run in
/// parallel.
#if THREAD_SANITIZER || ADDRESS_SANITIZER
    package let slowdown = 10
#else
    package let slowdown = 1
#endif

/// The error of a deadline that has passed.
package struct DeadlineMissed: Error, CustomStringConvertible {
    package let what: String
    package let limit: Duration
    package var description: String { "not within \(self.limit): \(self.what)" }

    package init(what: String, limit: Duration) {
        self.what = what
        self.limit = limit
    }
}

/// Calls `look` every few milliseconds until it returns a value, and returns that value. Throws after the limit.
package func waitFor<Value>(
    _ what: @autoclosure () -> String,
    within limit: Duration = .seconds(60),
    every pause: Duration = .milliseconds(5),
    _ look: () async throws -> Value?
) async throws -> Value {
    let deadline = ContinuousClock.now + limit
    while true {
        if let value = try await look() { return value }
        guard ContinuousClock.now < deadline else { throw DeadlineMissed(what: what(), limit: limit) }
        try await Task.sleep(for: pause)
    }
}

/// Suspends until a condition is true. Throws after the limit.
package func waitUntil(
    _ what: @autoclosure () -> String,
    within limit: Duration = .seconds(60),
    every pause: Duration = .milliseconds(5),
    _ condition: () async throws -> Bool
) async throws {
    try await waitFor(what(), within: limit, every: pause) { try await condition() ? () : nil }
}

/// Runs `body` in a separate task. Throws after the limit, even if `body` never ends.
package func within<Success: Sendable>(
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
