// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import NIOCore
import QpidProton
import QpidProtonRabbitMQ
import Synchronization

/// The rates of two links of one session with RabbitMQ, or of one of them alone.
struct Beside: AsyncParsableCommand {
    enum Pair: String, ExpressibleByArgument {
        /// A sender to a classic queue, and a sender to a quorum queue, which is slower.
        case twoSenders = "two-senders"
        /// A receiver from a full queue, and a sender of batches of 10,000 that awaits each batch.
        case receiveAndSend = "receive-and-send"

        /// The names of the two links.
        var links: [String] {
            switch self {
            case .twoSenders: ["classic", "quorum"]
            case .receiveAndSend: ["receiver", "sender"]
            }
        }
    }

    static let configuration = CommandConfiguration(
        commandName: "beside",
        abstract: "Measures two links of one session with RabbitMQ side by side, or one alone."
    )

    @Argument var pair: Pair
    @Option var port: Int
    @Option(help: "The duration of the measurement.") var seconds: Double
    @Option(help: "The number of messages in the full queue.") var fill = 100_000
    @Option(help: "The link to measure alone.") var only: String?

    mutating func validate() throws {
        guard self.seconds > 0, self.fill > 0 else { throw ValidationError("--seconds and --fill take more than 0") }
        guard self.only.map(self.pair.links.contains) ?? true else {
            throw ValidationError("--only takes \(self.pair.links.joined(separator: " or "))")
        }
    }

    func run() async throws {
        let url = "amqp://127.0.0.1:\(self.port)"
        let classic = RabbitMQQueue("bench-\(UUID().uuidString)", kind: .classic)
        let other = RabbitMQQueue(
            "bench-\(UUID().uuidString)",
            kind: self.pair == .twoSenders ? .quorum : .classic
        )
        let rates = try await AMQPConnection.withConnection(to: url) { connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                try await management.declare(classic)
                try await management.declare(other)
                let result: Result<[String: Double], any Error>
                do {
                    result = .success(try await self.measure(url, classic.name, other.name))
                } catch {
                    result = .failure(error)
                }
                try await management.deleteQueue(classic.name)
                try await management.deleteQueue(other.name)
                return try result.get()
            }
        }
        var usage = Usage()
        usage.rates = rates
        try usage.print()
    }

    /// Measures the messages a second of each link, on a separate connection.
    private func measure(_ url: String, _ first: String, _ second: String) async throws -> [String: Double] {
        try await AMQPConnection.withConnection(to: url) { connection in
            let session = try await connection.openSession(Peer.session)
            let counts = [Count(), Count()]
            var loads: [@Sendable () async throws -> Void] = []
            switch self.pair {
            case .twoSenders:
                for (queue, count) in zip([first, second], counts) {
                    let sender = try await session.openSender(to: RabbitMQAddress.queue(queue))
                    loads.append { try await Self.send(sender, count) }
                }
            case .receiveAndSend:
                let filler = try await session.openSender(to: RabbitMQAddress.queue(first))
                if self.only != "sender" { try await Self.sendBatch(self.fill, filler, Count()) }
                // The receiver is opened when the measurement begins, because it would prefetch messages.
                loads.append {
                    let address = RabbitMQAddress.queue(first)
                    try await Self.receive(
                        try await session.openReceiver(from: address, window: .messages(1_000)),
                        counts[0]
                    )
                }
                let sender = try await session.openSender(to: RabbitMQAddress.queue(second))
                loads.append { while !Task.isCancelled { try await Self.sendBatch(10_000, sender, counts[1]) } }
            }
            let start = ContinuousClock.now
            let chosen = zip(self.pair.links, loads).filter { self.only == nil || self.only == $0.0 }
            // The end of the time cancels the work in progress.
            let tasks = chosen.map { _, load in Task.detached { try await load() } }
            try await Task.sleep(for: .seconds(self.seconds))
            let rates = zip(self.pair.links, counts).map { name, count in (name, count.rate(since: start)) }
            tasks.forEach { $0.cancel() }
            if let error = connection.error ?? session.error { throw error }
            return Dictionary(uniqueKeysWithValues: rates.filter { self.only == nil || self.only == $0.0 })
        }
    }

    private static func message() -> AMQPMessage {
        var message = AMQPMessage(body: Send.body(100))
        message.header.durable = true
        message.applicationProperties["sent"] = .timestamp(.now())
        return message
    }

    private static func send(_ sender: AMQPSender, _ count: Count) async throws {
        while !Task.isCancelled {
            try await sender.enqueue(self.message()).whenSettled { if $0 == .success(.accepted) { count.add(1) } }
        }
    }

    private static func sendBatch(_ size: Int, _ sender: AMQPSender, _ count: Count) async throws {
        var transfers: [AMQPTracker] = []
        for _ in 0..<size {
            let transfer = try await sender.enqueue(self.message())
            transfer.whenSettled { if $0 == .success(.accepted) { count.add(1) } }
            transfers.append(transfer)
        }
        for transfer in transfers { _ = try await transfer.outcome() }
    }

    private static func receive(_ receiver: AMQPReceiver, _ count: Count) async throws {
        while case let batch = try await receiver.nextBatch(max: 256), !batch.isEmpty {
            for delivery in batch { _ = try delivery.decodeMessage() }
            batch.acceptAll()
            count.add(batch.count)
        }
    }
}

/// The messages of a link, and the time of the last one: a queue may be empty before the time is over.
private final class Count: Sendable {
    private let state = Mutex((count: 0, last: ContinuousClock.now))

    func add(_ count: Int) {
        self.state.withLock { state in
            state.count += count
            state.last = .now
        }
    }

    func rate(since start: ContinuousClock.Instant) -> Double {
        self.state.withLock { state in
            state.count == 0 ? 0 : Double(state.count) / ((state.last - start) / .seconds(1))
        }
    }
}
