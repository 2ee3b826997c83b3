// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
@_spi(Embedding) import QpidProton
import Synchronization

/// A connection to a ``ScriptedPeer``, with its tasks and its event loop on one thread and a stopped clock.
enum InMemory {
    /// The end of a task.
    private final class End: Sendable {
        let result = Mutex<Result<Void, any Error>?>(nil)
    }

    /// Runs `body`, the event loop and the peer until `body` has ended. Call this function on a separate thread, not
    /// from a task.
    static func run(_ peer: ScriptedPeer, _ body: @escaping @Sendable (AMQPSession) async throws -> Void) throws {
        let loop = EmbeddedEventLoop()
        // For Proton, a time of 0 means "never".
        loop.advanceTime(by: .seconds(1))
        let channel = EmbeddedChannel(handler: peer, loop: loop)
        let jobs = JobQueue()
        let end = End()
        Task(executorPreference: jobs) {
            let result: Result<Void, any Error>
            do {
                let connection = try await AMQPConnection.open(on: channel)
                try await body(connection.openSession(.init(incomingCapacity: .mebibytes(16))))
                await connection.close()
                result = .success(())
            } catch {
                result = .failure(error)
            }
            end.result.withLock { $0 = result }
        }
        while true {
            let hasRun = jobs.runRound()
            loop.run()
            if let result = end.result.withLock({ $0 }) { return try result.get() }
            guard try peer.turn() || hasRun else { throw Failure("no part makes progress") }
        }
    }
}
