// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DequeModule
import NIOCore
import QpidProton

/// The executor of the task that sends or receives.
enum Origin: String, ExpressibleByArgument {
    case detached, main, loop

    /// Runs `body` on that executor.
    func run<Value: Sendable>(
        _ connection: AMQPConnection,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        switch self {
        case .detached: try await Task.detached { try await body() }.value
        case .main: try await Task { @MainActor in try await body() }.value
        case .loop: try await Task.detached(executorPreference: connection.taskExecutor) { try await body() }.value
        }
    }
}

struct Send: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sender",
        abstract: "Sends messages as fast as the credit allows, and waits until all are settled."
    )

    @Option var port: Int
    @Option var count: Int
    @Option var size: Int
    @Option var links = 1
    @Option var address: String?
    @Flag var settled = false
    @Option var from = Origin.detached
    @OptionGroup var tls: TLSOptions

    mutating func validate() throws {
        guard self.count > 0, self.size >= 0, self.links > 0 else {
            throw ValidationError("--count and --links take 1 or more, --size 0 or more")
        }
    }

    func run() async throws {
        let connection = try await Peer.connect(self.port, self.tls)
        let session = try await connection.openSession(Peer.session)
        var senders: [AMQPSender] = []
        for index in 0..<self.links {
            let address = self.links == 1 ? self.address ?? "bench-0" : "\(self.address ?? "bench")-\(index)"
            var configuration = AMQPSender.Configuration(target: AMQPTarget(address: address))
            configuration.settleMode = self.settled ? .settled : .unsettled
            senders.append(try await session.openSender(configuration))
        }
        let (opened, count, size, isSettled) = (senders, self.count, self.size, self.settled)
        let duration = try await self.from.run(connection) {
            isSettled
                ? try await Self.sendSettled(opened, connection, count, size)
                : try await Self.send(opened, count, size)
        }
        if !isSettled { await connection.close() }
        var usage = Usage()
        usage.setRate(count, size: size, duration)
        try usage.print()
    }

    static func body(_ size: Int) -> ByteBuffer { ByteBuffer(repeating: UInt8(ascii: "x"), count: size) }

    private static func send(_ senders: [AMQPSender], _ count: Int, _ size: Int) async throws -> Duration {
        var message = AMQPMessage(body: self.body(size))
        var outstanding: Deque<AMQPTracker> = []
        let clock = ContinuousClock()
        let start = clock.now
        var index = 0
        for number in 1...count {
            message.applicationProperties["sent"] = .timestamp(.now())
            outstanding.append(try await senders[index].enqueue(message))
            index = index + 1 == senders.count ? 0 : index + 1
            guard number.isMultiple(of: 64) else { continue }
            while let first = outstanding.first, let result = first.result {
                try self.check(result.get())
                outstanding.removeFirst()
            }
            // The connection may run on the same thread.
            await Task.yield()
        }
        for transfer in outstanding { try self.check(await transfer.outcome()) }
        return clock.now - start
    }

    private static func check(_ outcome: AMQPOutcome) throws {
        guard outcome == .accepted else { throw Failure("a message was not accepted: \(outcome)") }
    }

    /// Sends settled messages, and waits until the receiver closes the connection because it has received all.
    private static func sendSettled(
        _ senders: [AMQPSender],
        _ connection: AMQPConnection,
        _ count: Int,
        _ size: Int
    ) async throws -> Duration {
        var message = AMQPMessage(body: self.body(size))
        let clock = ContinuousClock()
        let start = clock.now
        for number in 0..<count {
            message.applicationProperties["sent"] = .timestamp(.now())
            let transfer = try await senders[number % senders.count].enqueue(message)
            if number == count - 1 { _ = try await transfer.outcome() }
            if number % 64 == 63 { await Task.yield() }
        }
        let duration = clock.now - start
        try await connection.waitUntilClosed()
        return duration
    }
}
