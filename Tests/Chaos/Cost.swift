// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import NIOConcurrencyHelpers
import QpidProton
import QpidProtonRabbitMQ

/// Measures the cost of a client on a connection without losses.
struct Cost: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The processor time of one sender on a healthy connection, with a client or without.",
        discussion: "Prints 'processor SECONDS seconds SECONDS' when all messages are settled."
    )

    @Option(help: "The URL of the broker.") var url: String
    @Option(help: "The name of the queue.") var queue: String
    @Option(help: "The number of messages.") var count = 100_000
    @Option(help: "The bytes of a message's body.") var size = 200
    @Flag(help: "Without a client: a sender of an AMQPConnection.") var plain = false

    func run() async throws {
        let address = RabbitMQAddress.queue(self.queue)
        let settled = Settled()
        var (usage, start) = (0.0, UInt64(0))
        let padding = String(repeating: "x", count: self.size)
        if self.plain {
            try await AMQPConnection.withConnection(to: self.url) { connection in
                let sender = try await connection.openSession().openSender(to: address)
                (usage, start) = (ProcessFigures.processorTime, Clock.now)
                for number in 0..<self.count {
                    let tracker = try await sender.enqueue(Send.message(0, number, padding))
                    tracker.whenSettled { _ in settled.add() }
                }
                await settled.wait(for: self.count)
                Self.show(usage, start)
            }
        } else {
            try await AMQPClient.withClient(url: self.url) { client in
                let sender = try await client.sender(to: address)
                (usage, start) = (ProcessFigures.processorTime, Clock.now)
                for number in 0..<self.count {
                    let tracker = try await sender.enqueue(Send.message(0, number, padding))
                    tracker.whenSettled { _ in settled.add() }
                }
                await settled.wait(for: self.count)
                Self.show(usage, start)
            }
        }
    }

    private static func show(_ usage: Double, _ start: UInt64) {
        let processor = ProcessFigures.processorTime - usage
        Commands.answer("processor \(processor) seconds \(Double(Clock.now - start) / 1e9)")
    }
}

/// Counts the settled messages.
private final class Settled: Sendable {
    private let count = NIOLockedValueBox(0)

    func add() { self.count.withLockedValue { $0 += 1 } }

    func wait(for count: Int) async {
        while self.count.withLockedValue({ $0 }) < count { try? await Task.sleep(for: .milliseconds(5)) }
    }
}
