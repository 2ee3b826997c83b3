// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOPosix

/// Runs calls that may block forever, such as the open of a FIFO without a writer.
package enum Blocking {
    /// Runs a call on another thread, and waits for its result.
    ///
    /// After cancellation or the limit the call continues, and its result is dropped. The process can end before the
    /// call does.
    ///
    /// - Parameters:
    ///   - limit: The time to wait; `nil` for no limit.
    ///   - what: The attempt, which the error at the limit names.
    /// - Throws: The error of the call, `CancellationError`, or a ``Failure`` at the limit.
    package static func run<Value: Sendable>(
        within limit: Duration? = nil,
        _ what: String = "",
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        let (answers, answer) = AsyncThrowingStream.makeStream(of: Value.self)
        NIOThreadPool.singleton.submit { _ in
            do {
                answer.yield(try body())
                answer.finish()
            } catch {
                answer.finish(throwing: error)
            }
        }
        let timer = limit.map { limit in
            Task {
                try await Task.sleep(for: limit)
                answer.finish(throwing: Failure("cannot \(what) within \(limit.inSeconds) s"))
            }
        }
        defer { timer?.cancel() }
        for try await value in answers { return value }
        throw CancellationError()
    }
}

extension File {
    /// Opens the user's file for reading, or stdin for `-`. Suspends while a FIFO has no writer.
    package static func input(_ path: String, within limit: Duration?) async throws -> File {
        guard path != "-" else { return try File.standardInput() }
        return try await Blocking.run(within: limit, "open \(path)") { try File.open(path, O_RDONLY) }
    }
}
