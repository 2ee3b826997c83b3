// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

extension RabbitMQTests {
    /// The statements of the article "RabbitMQ 4 in truth" about RabbitMQ 4.0.
    @Suite(.timeLimit(.minutes(5)))
    struct Differences {
        // MARK: The delivery limit

        enum Return: String, CaseIterable { case release, fail, detach }

        /// The broker's default is 20, and it counts a released or undecided message like a failed one.
        @Test(arguments: Return.allCases)
        func aQuorumQueueDeadLettersAfterTwentyReturns(_ way: Return) async throws {
            try await RabbitMQScene.with { scene in
                let dead = try await scene.declare()
                let queue = try await scene.declare(.quorum) { queue in
                    (queue.deadLetterExchange, queue.deadLetterKey) = ("", dead)
                }
                try await scene.fill(queue, numbers: 0..<1)
                var receiver = try await scene.openReceiver(from: queue, window: .messages(1))
                for attempt in 0..<21 {
                    let delivery = try await receiver.take()
                    let message = try delivery.decodeMessage()
                    // The header counts only failures, and the annotation counts every return.
                    #expect(message.header.deliveryCount == (way == .fail ? UInt32(attempt) : 0))
                    let returns = message.messageAnnotations[symbol: "x-delivery-count"]?.intValue
                    #expect(returns == (attempt == 0 ? nil : attempt))
                    switch way {
                    case .release: delivery.release()
                    case .fail: delivery.modify(.init(deliveryFailed: true))
                    case .detach:
                        try await receiver.close().check()
                        receiver = try await scene.openReceiver(from: queue, window: .messages(1))
                    }
                }
                let letter = try await scene.openReceiver(from: dead).take()
                let annotations = try letter.decodeMessage().messageAnnotations
                #expect(annotations[symbol: "x-first-death-reason"] == "delivery_limit")
                letter.accept()
                try await scene.expectEmpty(queue)
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func noLimitAtAClassicQueueOrWithMinusOne(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind) { if kind == .quorum { $0.deliveryLimit = -1 } }
                try await scene.fill(queue, numbers: 0..<1)
                let receiver = try await scene.openReceiver(from: queue, window: .messages(1))
                for _ in 0..<40 { try await receiver.take().release() }
                #expect(try await receiver.takeBodies(1) == ["0"])
            }
        }

        // MARK: Addresses

        /// The broker declares a queue for an address of RabbitMQ 3.
        @Test(arguments: ["", "/queue/"], [AMQPTerminusDurability.none, .configuration])
        func aPlainNameMakesAClassicQueue(_ prefix: String, _ durability: AMQPTerminusDurability) async throws {
            try await RabbitMQScene.with { scene in
                let name = "test-\(UUID().uuidString)"
                var source = AMQPSource(address: prefix + name)
                source.durability = durability
                _ = try await scene.session.openReceiver(.init(source: source))
                let queue = try await scene.management.queue(name)
                #expect(queue.kind == .classic && queue.isDurable == (durability != .none))
                try await scene.management.deleteQueue(name)
            }
        }

        // MARK: Requests and replies

        @Test func aDynamicSourceEndsTheSession() async throws {
            try await RabbitMQScene.with { scene in
                let session = try await scene.connection.openSession()
                let error = try await failure(of: "the receiver") {
                    try await session.openReceiver(.init(source: .dynamic))
                }
                #expect(error.scope == .session && error.condition == .notImplemented && !error.isRetryable)
                #expect(error.detail.contains("Dynamic sources not supported"), "\(error)")
                #expect(session.error?.condition == .notImplemented && scene.connection.error == nil)
            }
        }

        @Test func aReplyReachesAnExclusiveQueue() async throws {
            try await RabbitMQScene.with { scene in
                let prices = try await scene.declare(.quorum)
                let replyQueue = RabbitMQQueue.temporary(prefix: "test")
                try await scene.management.declare(replyQueue)
                let replies = try await scene.openReceiver(from: replyQueue.name)
                var request = AMQPMessage(body: "oranges")
                request.properties.messageID = "1"
                request.properties.replyTo = RabbitMQAddress.queue(replyQueue.name)
                try await scene.fill(prices, [request])
                // The replying side has a connection of its own.
                try await AMQPConnection.withConnection(to: scene.broker.url) { connection in
                    let session = try await connection.openSession()
                    let delivery = try await session.openReceiver(from: RabbitMQAddress.queue(prices)).take()
                    let properties = try delivery.decodeMessage().properties
                    var reply = AMQPMessage(body: "3.20")
                    (reply.properties.to, reply.properties.correlationID) = (properties.replyTo, properties.messageID)
                    let outcome = try await session.openSender(to: nil).send(reply)
                    #expect(outcome == .accepted)
                    delivery.accept()
                }
                let reply = try await replies.take().decodeMessage()
                #expect(reply.bodyString == "3.20" && reply.properties.correlationID == "1")
            }
        }

        // MARK: Filters

        private static let filters: [AMQPFilter] = [
            .selector("color = 'red'"),
            AMQPFilter(
                name: "properties",
                descriptor: .symbol("amqp:properties-filter"),
                value: .map([.symbol("subject"): "red"])
            ),
            AMQPFilter(
                name: "application-properties",
                descriptor: .symbol("amqp:application-properties-filter"),
                value: .map(["color": "red"])
            ),
            AMQPFilter(name: "sql-filter", descriptor: .symbol("amqp:sql-filter"), value: "subject = 'red'"),
        ]

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum, .stream], Self.filters)
        func aFilterIsEchoedAndNotApplied(_ kind: RabbitMQQueue.Kind, _ filter: AMQPFilter) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind)
                try await scene.fill(
                    queue,
                    ["red", "blue", "red", "blue"].map { color in
                        var message = AMQPMessage(body: color)
                        message.properties.subject = color
                        message.applicationProperties = ["color": .string(color)]
                        return message
                    }
                )
                var source = AMQPSource(address: RabbitMQAddress.queue(queue), filters: [filter])
                if kind == .stream { source.filters.append(.streamOffset(.first)) }
                let receiver = try await scene.session.openReceiver(.init(source: source))
                #expect(receiver.remoteSource.filters.contains(filter), "the broker echoes it")
                #expect(try await receiver.takeBodies(4) == ["red", "blue", "red", "blue"])
            }
        }

        // MARK: Aborted messages

        private struct Broken: Error {}

        /// A body that fails after 4 MiB, when the socket has accepted a part of it.
        private struct BrokenBody: AsyncSequence, AsyncIteratorProtocol, Sendable {
            private var pieces = 0

            func makeAsyncIterator() -> Self { self }

            mutating func next() async throws -> ByteBuffer? {
                self.pieces += 1
                guard self.pieces <= 64 else { throw Broken() }
                return ByteBuffer(repeating: UInt8(ascii: "x"), count: 65_536)
            }
        }

        /// The broker does not support aborted transfers. It requires the same `settled` as in the first transfer, but
        /// Proton sets `settled` in an aborting transfer.
        @Test(arguments: [AMQPSenderSettleMode.unsettled, .settled, .mixed])
        func anAbortedMessageEndsTheSessionAndIsNotStored(_ mode: AMQPSenderSettleMode) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                let session = try await scene.connection.openSession()
                var configuration = AMQPSender.Configuration(target: .init(address: RabbitMQAddress.queue(queue)))
                configuration.settleMode = mode
                let sender = try await session.openSender(configuration)
                await #expect(throws: Broken.self) { try await sender.stream(body: BrokenBody()) }
                let ended = try await failure(of: "the session") { try await session.waitUntilClosed() }
                #expect(ended.condition == .connectionFramingError && ended.scope == .session, "\(ended)")
                #expect(ended.detail.contains("settled"), "\(ended)")
                #expect(scene.connection.error == nil && scene.session.error == nil)
                try await scene.expectEmpty(queue)
            }
        }
    }
}
