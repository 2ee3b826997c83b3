// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QpidProton
import QpidProtonRabbitMQ

/// Sends numbered messages through all losses, and records the fate of each.
struct Send: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A load of numbered messages on the senders of one client.",
        discussion: """
            Writes fates.tsv, events.tsv, samples.tsv and summary.json into the folder. Commands on standard input: \
            stop (send no further message, and finish), measure NAME (wait until every message is settled, measure the \
            process, continue).
            """
    )

    @Option(help: "The URLs of the broker.") var url: [String]
    @Option(help: "The name of the queue.") var queue: String
    @Option(help: "The folder of the files.") var folder: String
    @Option(help: "The number of senders.") var senders = 4
    @Option(help: "The number of messages; without it, until the command stop.") var count: Int?
    @Option(help: "The messages a second of all senders; without it, as many as there is room for.") var rate: Double?
    @Option(help: "The bytes of a message's body.") var size = 200
    @Option(help: "The replay limit of each sender in bytes.") var replayLimit = 4 << 20
    @Option(help: "The losses after which a message at the head is not sent again.") var poisonLimit = 3
    @Option(help: "The longest delay between two attempts in seconds; without it, the library's.") var longestDelay:
        Double?
    @Option(help: "The idle timeout in seconds; without it, the client's.") var idleTimeout: Double?
    @Option(help: "The seconds in which the messages must get their fates after the last was submitted.")
    var finishWithin = 120.0

    func validate() throws {
        guard self.senders > 0, self.size >= 0, self.replayLimit > 0, self.poisonLimit > 0, self.rate ?? 1 > 0 else {
            throw ValidationError("--senders, --replay-limit, --poison-limit and --rate must be more than 0")
        }
    }

    func run() async throws {
        try await SendRun(self).run()
    }

    var configuration: AMQPClient.Configuration {
        var configuration = AMQPClient.Configuration()
        // Only the losses may end the run.
        configuration.recovery.firstConnectionTimeout = .seconds(120)
        if let idleTimeout = self.idleTimeout { configuration.connection.idleTimeout = .seconds(idleTimeout) }
        if let longestDelay = self.longestDelay {
            configuration.recovery.longestDelay = .seconds(longestDelay)
            configuration.recovery.firstDelay = min(configuration.recovery.firstDelay, .seconds(longestDelay))
        }
        return configuration
    }

    var senderConfiguration: AMQPClient.Sender.Configuration {
        let target = AMQPTarget(address: RabbitMQAddress.queue(self.queue))
        var configuration = AMQPClient.Sender.Configuration(target: target)
        configuration.replayLimit = AMQPByteCount(self.replayLimit)
        configuration.poisonLimit = self.poisonLimit
        return configuration
    }

    /// Returns the number of messages of a sender; `nil` for no limit.
    func count(of sender: Int) -> Int? {
        self.count.map { $0 / self.senders + (sender < $0 % self.senders ? 1 : 0) }
    }

    static func message(_ sender: Int, _ number: Int, _ padding: String) -> AMQPMessage {
        var message = AMQPMessage(body: "\(sender) \(number) \(padding)")
        message.header.durable = true
        return message
    }

    var padding: String { String(repeating: "x", count: self.size) }
}
