// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import NIOCore
import QpidProton
import Synchronization

/// A task that sends messages of one size on a link as fast as the limits allow, and counts the settled messages.
final class Load: Sendable {
    private let settled = Atomic(0)
    private let size: Int
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(_ sender: AMQPSender, size: Int) throws {
        self.size = size
        let message = try AMQPMessage(body: ByteBuffer(repeating: 0x5a, count: size)).encoded()
        let task = Task.detached { [self] in
            // The loop ends with the link, or at the cancellation.
            while !Task.isCancelled, let transfer = try? await sender.enqueue(encoded: message) {
                transfer.whenSettled { result in
                    if case .success = result { self.settled.add(1, ordering: .relaxed) }
                }
            }
        }
        self.task.withLock { $0 = task }
    }

    /// Measures the settled messages a second, for a time from now on.
    func messagesPerSecond(for duration: Duration) async throws -> Double {
        try await Rate.measure(for: duration) { self.settled.load(ordering: .relaxed) }
    }

    /// Measures the settled MB a second, for a time from now on.
    func megabytesPerSecond(for duration: Duration) async throws -> Double {
        try await self.messagesPerSecond(for: duration) * Double(self.size) / 1e6
    }

    func stop() async {
        let task = self.task.withLock { $0 }
        task?.cancel()
        await task?.value
    }
}

enum Rate {
    /// Measures the growth of a count per second, for a time from now on.
    static func measure(for duration: Duration, _ count: () -> Int) async throws -> Double {
        let (clock, before) = (ContinuousClock(), count())
        let start = clock.now
        try await clock.sleep(for: duration)
        return Double(count() - before) / ((clock.now - start) / .seconds(1))
    }
}

/// A sink and the connections to it.
struct SinkPeer {
    private let child: ChildProcess
    let port: Int

    /// - Parameter options: The options of ``Sink``.
    static func start(_ options: String...) async throws -> SinkPeer {
        let child = try ChildProcess([Sink._commandName] + options)
        return SinkPeer(child: child, port: try await child.port())
    }

    func withConnection<Result>(_ body: (AMQPConnection) async throws -> Result) async throws -> Result {
        let connection = try await AMQPConnection.connect(host: "127.0.0.1", port: self.port)
        do {
            let result = try await body(connection)
            await connection.close()
            return result
        } catch {
            await connection.close()
            throw error
        }
    }
}

extension AMQPSession {
    func openSender(
        to place: Sink.Place,
        priority: Int = 4,
        limit: AMQPSendLimit? = nil
    ) async throws -> AMQPSender {
        var configuration = AMQPSender.Configuration(target: AMQPTarget(address: place.rawValue))
        configuration.priority = priority
        configuration.sendLimit = limit
        return try await self.openSender(configuration)
    }
}
