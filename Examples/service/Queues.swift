// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ

/// The queues of the service.
enum Queues: CaseIterable {
    case jobs
    case done
    case prices
    /// The replies for this process.
    case replies

    private static let own = "replies-\(UInt64.random(in: .min ... .max))"

    var name: String { self == .replies ? Self.own : "\(self)" }

    /// The description for RabbitMQ, which deletes the reply queue a minute after this process ends.
    private var description: RabbitMQQueue {
        guard self == .replies else { return RabbitMQQueue(self.name, kind: .quorum) }
        var queue = RabbitMQQueue(self.name, kind: .classic)
        queue.arguments["x-expires"] = .long(60_000)
        return queue
    }

    /// Declares the queues at RabbitMQ. Other brokers create queues when links attach.
    static func declare(on connection: AMQPConnection) async throws {
        guard connection.peer.properties[symbol: "product"]?.stringValue == "RabbitMQ" else { return }
        try await RabbitMQManagement.withManagement(on: connection) { management in
            for queue in Self.allCases { try await management.declare(queue.description) }
        }
    }
}
