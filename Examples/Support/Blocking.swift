import Foundation
import NIOPosix

/// Calls that may block for ever, such as opening a FIFO that has no writer.
package enum Blocking {
    /// Runs a call on another thread, and waits for its result.
    ///
    /// After cancellation or the limit the call goes on, its result is dropped, and the end of the process waits for neither.
    ///
    /// - Parameters:
    ///   - limit: How long to wait; nil for ever.
    ///   - what: What is tried, for the failure at the limit.
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
    /// Opens what the user named for reading, or stdin for `-`. Suspends while a FIFO has no writer.
    package static func input(_ path: String, within limit: Duration?) async throws -> File {
        guard path != "-" else { return try File.standardInput() }
        return try await Blocking.run(within: limit, "open \(path)") { try File.open(path, O_RDONLY) }
    }
}
