// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import QpidProton
import QpidProtonRabbitMQ

/// Declares or deletes the queue of a run.
struct Queue: AsyncParsableCommand {
    enum Action: String, ExpressibleByArgument, Sendable {
        case declare, delete
    }

    static let configuration = CommandConfiguration(abstract: "Declares or deletes a durable queue of RabbitMQ 4.")

    @Argument(help: "declare or delete") var action: Action
    @Option(help: "The URL of the broker.") var url: String
    @Option(help: "The name of the queue.") var name: String
    @Flag(help: "A classic queue in place of a quorum queue.") var classic = false

    func run() async throws {
        try await AMQPConnection.withConnection(to: self.url) { connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                switch self.action {
                case .declare:
                    try await management.declare(RabbitMQQueue(self.name, kind: self.classic ? .classic : .quorum))
                case .delete: try await management.deleteQueue(self.name)
                }
            }
        }
    }
}
