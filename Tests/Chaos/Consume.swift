// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QpidProton
import QpidProtonRabbitMQ

/// Consumes a queue, and records each message before it is accepted.
struct Consume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A consumer that may be killed at any time.",
        discussion: """
            Appends a line for each message to the file, at once: sender, number, and 1 if the broker has delivered \
            the message before, otherwise 0. Ends in order when standard input ends.
            """
    )

    @Option(help: "The URLs of the broker.") var url: [String]
    @Option(help: "The name of the queue.") var queue: String
    @Option(help: "The file.") var file: String

    func run() async throws {
        let file = open(self.file, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        guard file >= 0 else { throw ValidationError("cannot write \(self.file)") }
        let client = AMQPClient(urls: self.url)
        var configuration = AMQPConsumer.Configuration(source: RabbitMQAddress.queue(self.queue))
        configuration.attempts = nil
        let consumer = AMQPConsumer(client, configuration) { delivery in
            let message = try delivery.decodeMessage()
            let parts = (message.bodyString ?? "").split(separator: " ", maxSplits: 2)
            guard parts.count > 1 else { return }
            let again = message.header.deliveryCount > 0 || !message.header.firstAcquirer
            // One write call, so that a kill leaves no partial line.
            let line = Array("\(parts[0])\t\(parts[1])\t\(again ? 1 : 0)\n".utf8)
            _ = line.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        }
        let running = Task { try await consumer.run() }
        for await _ in Commands.lines() {}
        Commands.answer("\(await consumer.stop(within: .seconds(15)))")
        _ = try await running.value
        await client.close()
    }
}
