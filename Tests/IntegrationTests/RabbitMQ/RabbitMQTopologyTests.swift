// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

extension RabbitMQTests {
    /// Declarations that outlive connections and the broker.
    @Suite(.timeLimit(.minutes(10)))
    struct Topology {
        /// Runs `body` with a client that has a topology, and with its failed declarations.
        private static func with(
            _ configuration: AMQPClient.Configuration = .init(),
            _ topology: RabbitMQTopology = RabbitMQTopology(),
            _ body: (AMQPClient, RabbitMQTopology, HookFailures) async throws -> Void
        ) async throws {
            let broker = try RabbitMQBroker.required()
            var configuration = configuration
            if configuration.onConnect == nil { configuration.onConnect = topology.restore }
            try await AMQPClient.withClient(url: broker.url, configuration: configuration) { client in
                try await body(client, topology, HookFailures(of: client))
            }
        }

        private static func manage(_ body: @Sendable (RabbitMQManagement) async throws -> Void) async throws {
            try await AMQPConnection.withConnection(to: RabbitMQBroker.required().url) { connection in
                try await RabbitMQManagement.withManagement(on: connection, body)
            }
        }

        /// An operator closes all connections twice, and then the broker is killed.
        @Test func anExclusiveQueueReturnsWithItsBinding() async throws {
            let broker = try RabbitMQBroker.required()
            try await broker.run("status")
            try await Self.with { client, topology, failures in
                var queue = RabbitMQQueue.temporary(prefix: "test")
                queue.isAutoDelete = true
                var exchange = RabbitMQExchange("test-\(UUID().uuidString)", kind: .topic)
                exchange.isDurable = false
                try await topology.withManagement(on: client) { [queue, exchange] management in
                    try await management.declare(exchange)
                    try await management.declare(queue)
                    let binding = RabbitMQBinding(exchange: exchange.name, to: .queue(queue.name), key: "order.#")
                    try await management.bind(binding)
                }
                let receiver = try await client.receiver(from: RabbitMQAddress.queue(queue.name))
                let address = RabbitMQAddress.exchange(exchange.name, key: "order.books")
                let sender = try await client.sender(to: address)
                for round in 0...3 {
                    // A message without a queue would be released.
                    #expect(try await sender.send(AMQPMessage(body: "\(round)")) == .accepted)
                    let delivery = try #require(try await receiver.next())
                    #expect(try delivery.decodeMessage().bodyString == "\(round)")
                    #expect(delivery.accept() == .queued)
                    _ = try await delivery.settled()
                    let connection = client.connection
                    switch round {
                    case 0, 1: try await broker.control("close_all_connections", "maintenance")
                    case 2:
                        try await broker.run("stop", "--kill")
                        try await broker.run("start")
                    default: continue
                    }
                    try await waitUntil("recovery \(round)") {
                        client.health.isReady && client.connection !== connection
                    }
                }
                print("\(client.state), \(failures.all.count) failed attempts to declare: \(failures.all)")
                try await topology.withManagement(on: client) { [exchange] in
                    try await $0.deleteExchange(exchange.name)
                }
                #expect(topology.entities == [.queue(queue)])
            }
        }

        @Test func aFailedDeclarationIsAnEventAndIsRetried() async throws {
            let broker = try RabbitMQBroker.required()
            try await Self.with { client, topology, failures in
                var queue = RabbitMQQueue("test-\(UUID().uuidString)")
                queue.isAutoDelete = true
                try await topology.withManagement(on: client) { [queue] in try await $0.declare(queue) }
                let name = queue.name
                try await Self.manage { management in
                    try await management.deleteQueue(name)
                    // This declaration differs from the client's.
                    try await management.declare(RabbitMQQueue(name))
                }
                try await broker.control("close_all_connections", "maintenance")
                try await waitUntil("two failures") { failures.all.count >= 2 }
                #expect(!client.health.isReady)
                for (_, error) in failures.all {
                    let failure = try #require(error.underlying as? RabbitMQTopology.Failure)
                    #expect(failure.entity == .queue(queue) && failure.error.condition == .preconditionFailed)
                }
                try await Self.manage { try await $0.deleteQueue(name) }
                try await waitUntil("the recovery") { client.health.isReady }
                try await topology.withManagement(on: client) { management in
                    #expect(try await management.queue(name).isAutoDelete)
                    try await management.deleteQueue(name)
                }
            }
        }

        /// Another connection briefly holds the exclusive queue, like a lost connection that the broker has not
        /// noticed.
        @Test func theTopologyWaitsForALockedQueue() async throws {
            let broker = try RabbitMQBroker.required()
            let topology = RabbitMQTopology()
            let mayRestore = Mutex(false)
            let restoring = Mutex(false)
            var configuration = AMQPClient.Configuration()
            configuration.onConnect = { connection, generation in
                if generation > 1 {
                    restoring.withLock { $0 = true }
                    try await waitUntil("the lock") { mayRestore.withLock { $0 } }
                }
                try await topology.restore(connection, generation)
            }
            try await Self.with(configuration, topology) { client, topology, failures in
                let queue = RabbitMQQueue.temporary(prefix: "test")
                try await topology.withManagement(on: client) { try await $0.declare(queue) }
                try await broker.control("close_all_connections", "maintenance")
                try await waitUntil("the hook") { restoring.withLock { $0 } }
                let other = try await AMQPConnection.connect(to: broker.url)
                let management = try await RabbitMQManagement.open(on: other)
                // The queue of the lost connection may exist for another moment.
                try await waitUntil("the lock") { (try? await management.declare(queue)) != nil }
                mayRestore.withLock { $0 = true }
                try await Task.sleep(for: .milliseconds(300))
                #expect(client.state != .open(generation: 2))
                try await other.close().check()
                try await waitUntil("the recovery") { client.state == .open(generation: 2) }
                #expect(failures.all.isEmpty)
                let receiver = try await client.receiver(from: RabbitMQAddress.queue(queue.name))
                let sender = try await client.sender(to: RabbitMQAddress.queue(queue.name))
                #expect(try await sender.send(AMQPMessage(body: "m")) == .accepted)
                #expect(try await receiver.next()?.accept() == .queued)
            }
        }
    }
}
