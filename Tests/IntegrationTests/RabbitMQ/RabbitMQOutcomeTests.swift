// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

extension RabbitMQTests {
    /// The broker's outcomes for messages, and the effects of a receiver's outcomes.
    @Suite(.timeLimit(.minutes(5)))
    struct Outcomes {
        @Test func released() async throws {
            try await RabbitMQScene.with { scene in
                let exchange = try await scene.declareExchange(.direct)
                let sender = try await scene.session.openSender(to: RabbitMQAddress.exchange(exchange, key: "nobody"))
                #expect(try await sender.send(AMQPMessage(body: "lost")) == .released)
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func rejected(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind) { queue in
                    queue.maxLength = 10
                    queue.overflow = .rejectPublish
                }
                let sender = try await scene.openSender(to: queue)
                var outcomes: [AMQPOutcome] = []
                // A quorum queue accepts a few more messages than its length before it rejects.
                while outcomes.count < 1_000, outcomes.last.map({ $0 == .accepted }) ?? true {
                    outcomes.append(try await sender.send(AMQPMessage(body: "\(outcomes.count)")))
                }
                #expect(outcomes.count > 10 && outcomes.dropLast().allSatisfy { $0 == .accepted })
                guard case .rejected = outcomes.last else {
                    Issue.record("\(String(describing: outcomes.last)) where a rejection was expected")
                    return
                }
                // The queue contains exactly the accepted messages.
                let receiver = try await scene.openReceiver(from: queue)
                #expect(try await receiver.takeBodies(outcomes.count - 1) == (0..<outcomes.count - 1).map { "\($0)" })
                try await scene.expectEmpty(queue)
                #expect(try await sender.send(AMQPMessage(body: "room again")) == .accepted)
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func aReleasedMessageReturns(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind)
                try await scene.fill(queue, numbers: 0..<1)
                let receiver = try await scene.openReceiver(from: queue)
                let first = try await receiver.take()
                #expect(try first.decodeMessage().bodyString == "0" && first.decodeMessage().header.deliveryCount == 0)
                #expect(try first.decodeMessage().header.firstAcquirer)
                first.release()
                let again = try await receiver.take()
                #expect(try again.decodeMessage().bodyString == "0" && !again.decodeMessage().header.firstAcquirer)
                // A release is not a failure, so the header does not count it.
                if kind == .quorum { #expect(try again.decodeMessage().header.deliveryCount == 0) }
                again.accept()
                try await scene.expectEmpty(queue)
            }
        }

        @Test func aModifiedMessageReturnsChanged() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(.quorum)
                try await scene.fill(queue, numbers: 0..<1)
                let receiver = try await scene.openReceiver(from: queue, window: .messages(1))
                for attempt in 0..<3 {
                    let delivery = try await receiver.take()
                    let message = try delivery.decodeMessage()
                    #expect(message.header.deliveryCount == UInt32(attempt) && message.bodyString == "0")
                    #expect(
                        message.messageAnnotations[symbol: "x-opt-attempt"]?.intValue == (attempt == 0 ? nil : attempt)
                    )
                    let annotations: AMQPMap = [.symbol("x-opt-attempt"): .int(Int32(attempt + 1))]
                    delivery.modify(.init(deliveryFailed: true, messageAnnotations: annotations))
                }
                let last = try await receiver.take()
                #expect(try last.decodeMessage().header.deliveryCount == 3)
                last.accept()
                try await scene.expectEmpty(queue)
            }
        }

        @Test func refusedMessagesAreDeadLettered() async throws {
            try await RabbitMQScene.with { scene in
                let dead = try await scene.declare()
                let queue = try await scene.declare(.quorum) { queue in
                    queue.deadLetterExchange = ""
                    queue.deadLetterKey = dead
                    queue.deliveryLimit = 2
                }
                try await scene.fill(queue, ["rejected", "not here", "fails"].map { AMQPMessage(body: $0) })
                let receiver = try await scene.openReceiver(from: queue, window: .messages(1))
                try await receiver.take().reject(
                    AMQPError(scope: .delivery, condition: .decodeError, detail: "cannot be read")
                )
                try await receiver.take().modify(.init(undeliverableHere: true))
                // After two more attempts the broker dead-letters the message.
                for _ in 0..<3 {
                    let delivery = try await receiver.take()
                    #expect(try delivery.decodeMessage().bodyString == "fails")
                    delivery.modify(.init(deliveryFailed: true))
                }
                let deadReceiver = try await scene.openReceiver(from: dead)
                var reasons: [String: String] = [:]
                for _ in 0..<3 {
                    let delivery = try await deadReceiver.take()
                    let message = try delivery.decodeMessage()
                    let reason = message.messageAnnotations[symbol: "x-first-death-reason"]?.stringValue
                    reasons[message.bodyString ?? ""] = reason
                    delivery.accept()
                }
                #expect(reasons == ["rejected": "rejected", "not here": "rejected", "fails": "delivery_limit"])
                try await scene.expectEmpty(queue)
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func unsettledMessagesReturn(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind)
                try await scene.fill(queue, numbers: 0..<100)
                let first = try await scene.openReceiver(from: queue, window: .messages(50))
                #expect(try await first.takeBodies(10) == (0..<10).map { "\($0)" })
                // These deliveries are undecided when the link ends.
                let held = [try await first.take(), try await first.take()]
                #expect(held.count == 2)
                try await first.close().check()
                let second = try await scene.openReceiver(from: queue)
                let again = try await second.takeBodies(90)
                // A quorum queue appends returned messages in the order of their return, so the last ones are those
                // that the receiver held.
                let inOrder = kind == .quorum ? again.sorted { Int($0) ?? 0 < Int($1) ?? 0 } : again
                #expect(inOrder == (10..<100).map { "\($0)" })
                try await scene.expectEmpty(queue)
            }
        }

        @Test func settledMessagesBothWays() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                var sending = AMQPSender.Configuration(target: .init(address: RabbitMQAddress.queue(queue)))
                sending.settleMode = .settled
                let sender = try await scene.session.openSender(sending)
                for number in 0..<1_000 { _ = try await sender.enqueue(AMQPMessage(body: "\(number)")) }
                var receiving = AMQPReceiver.Configuration(source: .init(address: RabbitMQAddress.queue(queue)))
                receiving.senderSettleMode = .settled
                let receiver = try await scene.session.openReceiver(receiving)
                for number in 0..<1_000 {
                    let delivery = try await receiver.take()
                    #expect(try delivery.isSettled && delivery.decodeMessage().bodyString == "\(number)")
                    delivery.accept()
                }
                try await scene.expectEmpty(queue)
            }
        }
    }
}
