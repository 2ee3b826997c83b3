// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

extension RabbitMQTests {
    /// A client that outlives the broker's restarts.
    @Suite(.timeLimit(.minutes(10)))
    struct Clients {
        private static func client(_ broker: RabbitMQBroker) -> AMQPClient {
            AMQPClient(url: broker.url)
        }

        @Test func aMissingQueueEndsNoOtherLink() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                try await AMQPClient.withClient(url: scene.broker.url) { client in
                    let sender = try await client.sender(to: RabbitMQAddress.queue(queue))
                    let receiver = try await client.receiver(from: RabbitMQAddress.queue(queue))
                    let (one, other) = (sender.link, receiver.link)
                    let error = try await failure(of: "the sender") {
                        try await client.sender(to: RabbitMQAddress.queue("missing"))
                    }
                    #expect(error.condition == .notFound && error.scope == .session)
                    #expect(try await sender.send(AMQPMessage(body: "m")) == .accepted)
                    #expect(try await receiver.next()?.accept() == .queued)
                    #expect(one?.error == nil && other?.error == nil && client.health.links == 2)
                }
                try await scene.expectEmpty(queue)
            }
        }

        @Test func linksBeyondTheLimitAreProbedFirst() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                try await AMQPClient.withClient(url: scene.broker.url) { client in
                    var senders: [AMQPClient.Sender] = []
                    for _ in 0..<20 { senders.append(try await client.sender(to: RabbitMQAddress.queue(queue))) }
                    let error = try await failure(of: "the sender") {
                        try await client.sender(to: RabbitMQAddress.queue("missing"))
                    }
                    #expect(error.condition == .notFound)
                    for sender in senders { try await sender.send(AMQPMessage(body: "m")) }
                    #expect(client.state == .open(generation: 1))
                }
            }
        }

        @Test func closedConnectionsAreOpenedAgain() async throws {
            let broker = try RabbitMQBroker.required()
            let queue = RabbitMQQueue("test-\(UUID().uuidString)")
            try await Self.manage(broker) { try await $0.declare(queue) }
            try await AMQPClient.withClient(url: broker.url) { client in
                let sender = try await client.sender(to: RabbitMQAddress.queue(queue.name))
                let receiver = try await client.receiver(from: RabbitMQAddress.queue(queue.name))
                for round in 1...3 {
                    try await broker.control("close_all_connections", "maintenance")
                    try await waitUntil("the recovery") { client.state == .open(generation: round + 1) }
                    try await sender.send(AMQPMessage(body: "\(round)"))
                    let delivery = try #require(try await receiver.next())
                    #expect(try delivery.decodeMessage().bodyString == "\(round)")
                    #expect(delivery.accept() == .queued)
                    _ = try await delivery.settled()
                }
            }
            try await Self.manage(broker) { try await $0.deleteQueue(queue.name) }
        }

        /// Without a filter the stream begins at the next message, and only the messages themselves reveal their
        /// offsets.
        @Test(arguments: [true, false])
        func aStreamContinuesAfterTheLastSettledMessage(_ isNamed: Bool) async throws {
            let broker = try RabbitMQBroker.required()
            let stream = RabbitMQQueue("test-\(UUID().uuidString)", kind: .stream)
            try await Self.manage(broker) { try await $0.declare(stream) }
            try await AMQPClient.withClient(url: broker.url) { client in
                let address = RabbitMQAddress.queue(stream.name)
                let source = isNamed ? .rabbitMQStream(stream.name, from: .first) : AMQPSource(address: address)
                let receiver = try await client.receiver(.init(source: source))
                let sender = try await client.sender(to: address)
                var received: [Int] = []
                for round in 0..<3 {
                    for number in 0..<20 { try await sender.send(AMQPMessage(body: "\(round * 20 + number)")) }
                    for number in 0..<15 {
                        let delivery = try #require(try await receiver.next())
                        received.append(try #require(Int(try delivery.decodeMessage().bodyString ?? "")))
                        // The last message is not settled, so it arrives again.
                        if number < 14 { delivery.accept() }
                    }
                    let generation = round + 2
                    try await broker.control("close_all_connections", "maintenance")
                    try await waitUntil("the recovery") {
                        client.state == .open(generation: generation) && client.health.isReady
                    }
                }
                #expect(received == Array(0..<15) + Array(14..<29) + Array(28..<43))
            }
            try await Self.manage(broker) { try await $0.deleteQueue(stream.name) }
        }

        @Test func nothingIsLostWhenTheBrokerIsKilled() async throws {
            let broker = try RabbitMQBroker.required()
            try await broker.run("status")
            let kills = ProcessInfo.processInfo.environment["QPID_PROTON_RABBITMQ_KILLS"].flatMap(Int.init) ?? 2
            let queue = RabbitMQQueue("test-\(UUID().uuidString)", kind: .quorum)
            try await Self.manage(broker) { try await $0.declare(queue) }
            // RabbitMQ 4.0 stores the existence of a queue some time after its declaration.
            try await broker.run("stop")
            try await broker.run("start")
            let client = Self.client(broker)
            let sender = try await client.sender(to: RabbitMQAddress.queue(queue.name))
            let stops = Mutex(false)
            let sending = Task {
                var trackers: [AMQPClient.Tracker] = []
                while !stops.withLock({ $0 }) {
                    trackers.append(try await sender.enqueue(AMQPMessage(body: "\(trackers.count)")))
                    if trackers.count % 20 == 0 { try await Task.sleep(for: .milliseconds(5)) }
                }
                return trackers
            }
            for _ in 0..<kills {
                try await Task.sleep(for: .seconds(1))
                try await broker.run("stop", "--kill")
                try await broker.run("start")
                try await waitUntil("the recovery") { client.health.isReady }
            }
            try await Task.sleep(for: .seconds(1))
            stops.withLock { $0 = true }
            let trackers = try await sending.value
            for tracker in trackers { #expect(try await tracker.outcome() == .accepted) }
            // The test reads the broker's messages with a connection of its own.
            let receiver = try await client.receiver(from: RabbitMQAddress.queue(queue.name))
            var counts: [Int: Int] = [:]
            while let delivery = try await receiver.receive(timeout: .seconds(2)) {
                if let number = try delivery.decodeMessage().bodyString.flatMap(Int.init) {
                    counts[number, default: 0] += 1
                }
                delivery.accept()
            }
            let lost = trackers.indices.filter { counts[$0] == nil }
            let doubles = trackers.indices.filter { counts[$0] ?? 0 > 1 }
            let unflagged = doubles.filter { trackers[$0].attempts < 2 }
            let flagged = trackers.count { $0.attempts > 1 }
            print(
                "\(kills) kills: \(trackers.count) messages, \(flagged) flagged, \(doubles.count) twice, \(lost.count) lost"
            )
            #expect(lost.isEmpty && unflagged.isEmpty)
            #expect(await client.close().isComplete)
            try await Self.manage(broker) { try await $0.deleteQueue(queue.name) }
        }

        @Test func aDeletedQueueEndsItsReceiverAlone() async throws {
            try await RabbitMQScene.with { scene in
                let (gone, kept) = (try await scene.declare(), try await scene.declare())
                try await AMQPClient.withClient(url: scene.broker.url) { client in
                    let one = try await client.receiver(from: RabbitMQAddress.queue(gone))
                    let other = try await client.receiver(from: RabbitMQAddress.queue(kept))
                    try await scene.management.deleteQueue(gone)
                    let error = try await failure(of: "receiving") { try await one.next() }
                    #expect(error.condition == .resourceDeleted)
                    try await scene.fill(kept, numbers: 0..<1)
                    #expect(try await other.next()?.accept() == .queued)
                }
            }
        }

        private static func manage(
            _ broker: RabbitMQBroker,
            _ body: @escaping @Sendable (RabbitMQManagement) async throws -> Void
        ) async throws {
            try await AMQPConnection.withConnection(to: broker.url) { connection in
                try await RabbitMQManagement.withManagement(on: connection) { try await body($0) }
            }
        }
    }
}
