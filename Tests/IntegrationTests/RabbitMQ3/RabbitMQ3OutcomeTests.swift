// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import QpidProton
import TestSupport
import Testing

extension RabbitMQ3Tests {
    /// The broker's outcomes for messages, and the effects of a receiver's outcomes.
    @Suite(.timeLimit(.minutes(5)))
    struct Outcomes {
        @Test func aMessageArrivesUnchanged() async throws {
            try await RabbitMQ3Scene.with { scene in
                var message = AMQPMessage(body: .data([ByteBuffer(bytes: 0...255)]))
                message.header.durable = true
                message.header.priority = 7
                message.header.timeToLive = .seconds(60)
                message.messageAnnotations = [.symbol("x-opt-shelf"): "b"]
                message.properties.messageID = "id"
                message.properties.userID = ByteBuffer(string: "guest")
                message.properties.to = "somewhere"
                message.properties.subject = "subject"
                message.properties.replyTo = "/queue/replies"
                message.properties.correlationID = "correlation"
                message.properties.contentType = "text/plain"
                message.applicationProperties = ["count": 1, "text": "ä", "yes": true]
                let sender = try await scene.openSender()
                #expect(try await sender.send(message) == .accepted)
                let receiver = try await scene.openReceiver()
                let delivery = try await receiver.take()
                var received = try delivery.decodeMessage()
                #expect(received.header.firstAcquirer)
                received.header.firstAcquirer = false
                #expect(received == message)
                delivery.accept()
                try await scene.expectEmpty()
            }
        }

        @Test func anExpiredMessageLeavesItsQueue() async throws {
            try await RabbitMQ3Scene.with { scene in
                let sender = try await scene.openSender()
                var short = AMQPMessage(body: "short")
                short.header.timeToLive = .milliseconds(1)
                #expect(try await sender.send(short) == .accepted)
                #expect(try await sender.send(AMQPMessage(body: "for ever")) == .accepted)
                try await waitUntil("one is left") { try await scene.info("messages") == ["1"] }
                #expect(try await scene.openReceiver().takeBodies(1) == ["for ever"])
            }
        }

        /// The durability is in the terminus. By default the queue is deleted when the broker stops.
        @Test(arguments: [AMQPTerminusDurability.none, .configuration, .unsettledState])
        func aQueueIsAsDurableAsItsTarget(_ durability: AMQPTerminusDurability) async throws {
            try await RabbitMQ3Scene.with { scene in
                let sender = try await scene.openSender { $0.target.durability = durability }
                #expect(try await sender.send(AMQPMessage(body: "kept")) == .accepted)
                #expect(try await scene.info("durable", "messages") == [durability == .none ? "false" : "true", "1"])
            }
        }

        @Test func aReleasedMessageReturns() async throws {
            try await RabbitMQ3Scene.with { scene in
                try await scene.fill(0..<1)
                let receiver = try await scene.openReceiver(window: .messages(1))
                try await receiver.take().release()
                let again = try await receiver.take()
                #expect(try again.decodeMessage().bodyString == "0" && !again.decodeMessage().header.firstAcquirer)
                again.accept()
                try await scene.expectEmpty()
            }
        }

        @Test func aRejectedMessageIsDroppedOrDeadLettered() async throws {
            try await RabbitMQ3Scene.with { scene in
                try await scene.fill(0..<2)
                let receiver = try await scene.openReceiver(window: .messages(1))
                try await receiver.take().reject()
                #expect(try await receiver.takeBodies(1) == ["1"])
                try await scene.expectEmpty()

                let queue = try await scene.declare(
                    """
                    {<<"x-dead-letter-exchange">>,longstr,<<"">>},
                    {<<"x-dead-letter-routing-key">>,longstr,<<"\(scene.queue)">>}
                    """
                )
                let address = "/amq/queue/\(queue)"
                try await scene.fill(7..<8, to: address)
                try await scene.openReceiver(from: address).take().reject()
                #expect(try await receiver.takeBodies(1) == ["7"])
            }
        }

        /// The plugin does not support this state, and reports that.
        @Test func aModifiedMessageEndsTheSession() async throws {
            try await RabbitMQ3Scene.with { scene in
                try await scene.fill(0..<1)
                let receiver = try await scene.openReceiver()
                try await receiver.take().modify(.init(deliveryFailed: true))
                let error = try await failure(of: "the receiver") { try await receiver.next() }
                #expect(
                    error.scope == .session && error.condition == .invalidField && error.origin == .peer,
                    "\(error)"
                )
                #expect(error.detail.contains("Unrecognised state: {'v1_0.modified'"), "\(error)")
                #expect(try await scene.openReceiver().takeBodies(1) == ["0"])
            }
        }

        /// RabbitMQ 4 releases such a message.
        @Test func aMessageWithoutAQueueIsAcceptedAndLost() async throws {
            try await RabbitMQ3Scene.with { scene in
                let sender = try await scene.openSender(to: "/exchange/amq.direct/\(scene.queue)")
                #expect(try await sender.send(AMQPMessage(body: "lost")) == .accepted)
            }
        }

        @Test func exchangesAndTopics() async throws {
            try await RabbitMQ3Scene.with { scene in
                let key = scene.queue
                // Each link declares a queue of its own, and binds it.
                let direct = try await scene.openReceiver(from: "/exchange/amq.direct/\(key)")
                let topic = try await scene.openReceiver(from: "/topic/\(key).*")
                let toDirect = try await scene.openSender(to: "/exchange/amq.direct/\(key)")
                let toTopic = try await scene.openSender(to: "/topic/\(key).books")
                let bySubject = try await scene.openSender(to: "/exchange/amq.direct")
                #expect(try await toDirect.send(AMQPMessage(body: "direct")) == .accepted)
                #expect(try await toTopic.send(AMQPMessage(body: "topic")) == .accepted)
                var message = AMQPMessage(body: "subject")
                message.properties.subject = key
                #expect(try await bySubject.send(message) == .accepted)
                #expect(try await Set(direct.takeBodies(2)) == ["direct", "subject"])
                #expect(try await topic.takeBodies(1) == ["topic"])
            }
        }

        @Test func settledMessagesBothWays() async throws {
            try await RabbitMQ3Scene.with { scene in
                let sender = try await scene.openSender { $0.settleMode = .settled }
                for number in 0..<1_000 { _ = try await sender.enqueue(AMQPMessage(body: "\(number)")) }
                let receiver = try await scene.openReceiver { $0.senderSettleMode = .settled }
                for number in 0..<1_000 {
                    let delivery = try await receiver.take()
                    #expect(try delivery.isSettled && delivery.decodeMessage().bodyString == "\(number)")
                }
                try await scene.expectEmpty()
            }
        }
    }
}
