// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

extension RabbitMQTests {
    /// Queues of all kinds, their addresses, and the ways in which messages reach them.
    @Suite(.timeLimit(.minutes(5)))
    struct Queues {
        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func messagesAreStoredUnchanged(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind)
                var messages: [AMQPMessage] = []
                for number in 0..<1_000 {
                    var message = AMQPMessage(body: .map(["number": .uint(UInt32(number)), "text": "Zoë"]))
                    message.header.durable = true
                    message.properties.messageID = .ulong(UInt64(number))
                    message.properties.subject = "subject"
                    message.applicationProperties = ["flag": true, "size": .int(7)]
                    message.messageAnnotations = [.symbol("x-mark"): "kept"]
                    messages.append(message)
                }
                try await scene.fill(queue, messages)
                #expect(try await scene.management.queue(queue).messageCount == 1_000)
                let receiver = try await scene.openReceiver(from: queue)
                for sent in messages {
                    let delivery = try await receiver.take()
                    let message = try delivery.decodeMessage()
                    #expect(message.properties == sent.properties && message.body == sent.body)
                    #expect(message.applicationProperties == sent.applicationProperties && message.header.durable)
                    #expect(message.messageAnnotations[symbol: "x-mark"] == "kept")
                    delivery.accept()
                }
                try await receiver.close().check()
                try await scene.expectEmpty(queue)
            }
        }

        @Test func largeMessages() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                let bytes = ByteBuffer(bytes: (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 7) })
                try await scene.fill(queue, [AMQPMessage(body: bytes), AMQPMessage(body: "small")])
                let receiver = try await scene.openReceiver(from: queue)
                let large = try await receiver.take()
                #expect(try large.decodeMessage().bodyBytes == bytes)
                large.accept()
                #expect(try await receiver.takeBodies(1) == ["small"])
            }
        }

        @Test(arguments: ["/a/b", " 100 %", "-Zoë\u{1F600}", "?a=b&c#d;e", "%2F", "+plus"])
        func namesOfAllKinds(_ suffix: String) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(named: suffix)
                let exchange = try await scene.declareExchange(.direct, named: suffix)
                let binding = RabbitMQBinding(exchange: exchange, to: .queue(queue), key: "key\(suffix)")
                try await scene.management.bind(binding)
                let address = RabbitMQAddress.exchange(exchange, key: "key\(suffix)")
                let sender = try await scene.session.openSender(to: address)
                #expect(try await sender.send(AMQPMessage(body: "by the exchange")) == .accepted)
                try await scene.fill(queue, [AMQPMessage(body: "to the queue")])
                let receiver = try await scene.openReceiver(from: queue)
                #expect(try await receiver.takeBodies(2) == ["by the exchange", "to the queue"])
                try await scene.management.unbind(binding)
                #expect(try await sender.send(AMQPMessage(body: "nowhere")) == .released)
            }
        }

        @Test func anonymousTerminus() async throws {
            try await RabbitMQScene.with { scene in
                let queues = [try await scene.declare(), try await scene.declare(.quorum, named: "/2")]
                let sender = try await scene.session.openSender(to: nil)
                var outcomes: [AMQPOutcome] = []
                for number in 0..<100 {
                    var message = AMQPMessage(body: "\(number)")
                    message.properties.to = RabbitMQAddress.queue(queues[number % 2])
                    outcomes.append(try await sender.send(message))
                }
                #expect(outcomes.allSatisfy { $0 == .accepted })
                for (index, queue) in queues.enumerated() {
                    let receiver = try await scene.openReceiver(from: queue)
                    let expected = (0..<100).filter { $0 % 2 == index }.map { "\($0)" }
                    #expect(try await receiver.takeBodies(50) == expected)
                }
                var lost = AMQPMessage(body: "lost")
                lost.properties.to = RabbitMQAddress.queue("there is no such queue")
                #expect(try await sender.send(lost) == .released)
                // The link continues.
                lost.properties.to = RabbitMQAddress.queue(queues[0])
                #expect(try await sender.send(lost) == .accepted)
            }
        }

        @Test func priorities() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare { $0.maxPriority = 9 }
                // Priority 4 is omitted, because it is AMQP's default, and RabbitMQ treats the default as 0.
                let priorities: [UInt8] = [0, 7, 1, 9, 2, 8, 3, 6, 5]
                let messages = (0..<90).map { number in
                    var message = AMQPMessage(body: "\(number)")
                    message.header.priority = priorities[number % 9]
                    return message
                }
                try await scene.fill(queue, messages)
                let receiver = try await scene.openReceiver(from: queue)
                let expected = priorities.sorted(by: >).flatMap { priority in
                    (0..<90).filter { priorities[$0 % 9] == priority }.map { "\($0)" }
                }
                #expect(try await receiver.takeBodies(90) == expected)
            }
        }

        @Test func messagesExpire() async throws {
            try await RabbitMQScene.with { scene in
                let dead = try await scene.declare()
                let toDead: (inout RabbitMQQueue) -> Void = { queue in
                    queue.deadLetterExchange = ""
                    queue.deadLetterKey = dead
                }
                let byQueue = try await scene.declare { queue in
                    toDead(&queue)
                    queue.messageTimeToLive = .milliseconds(1)
                }
                let byMessage = try await scene.declare(.quorum, toDead)
                try await scene.fill(byQueue, [AMQPMessage(body: "by the queue")])
                var message = AMQPMessage(body: "by the message")
                message.header.timeToLive = .milliseconds(1)
                try await scene.fill(byMessage, [message])
                let receiver = try await scene.openReceiver(from: dead)
                var came: [String: String] = [:]
                for _ in 0..<2 {
                    let delivery = try await receiver.take()
                    let annotations = try delivery.decodeMessage().messageAnnotations
                    #expect(annotations[symbol: "x-first-death-reason"] == "expired")
                    let origin = annotations[symbol: "x-first-death-queue"]?.stringValue
                    came[origin ?? ""] = try delivery.decodeMessage().bodyString
                    delivery.accept()
                }
                #expect(came == [byQueue: "by the queue", byMessage: "by the message"])
            }
        }

        @Test func managementReportsTheCause() async throws {
            try await RabbitMQScene.with { scene in
                let management = scene.management
                let queue = try await scene.declare(.quorum)
                let missing = try await failure(of: "inspecting") { try await management.queue("not there") }
                #expect(
                    missing.condition == .notFound && missing.detail.contains("not there") && missing.origin == .peer
                )
                let purging = try await failure(of: "purging") { try await management.purgeQueue("not there") }
                #expect(purging.condition == .notFound && purging.detail.contains("not there"), "\(purging)")
                let binding = RabbitMQBinding(exchange: "not there", to: .queue(queue))
                let unbound = try await failure(of: "binding") { try await management.bind(binding) }
                #expect(unbound.condition == .notFound && unbound.detail.contains("not there"), "\(unbound)")
                let another = try await failure(of: "declaring") {
                    try await management.declare(RabbitMQQueue(queue, kind: .classic))
                }
                #expect(another.condition == .preconditionFailed && another.detail.contains("x-queue-type"))
                let reserved = try await failure(of: "declaring") {
                    try await management.declare(RabbitMQQueue("amq.mine"))
                }
                #expect(reserved.condition == .notAllowed && reserved.detail.contains("amq."))
                let unknown = try await failure(of: "declaring") {
                    try await management.declare(RabbitMQExchange("test-unknown", kind: "nonsense"))
                }
                #expect(unknown.condition == .invalidField && unknown.detail.contains("nonsense"))
                // None of these errors ended the links.
                #expect(try await management.deleteQueue("not there") == 0)
                #expect(try await management.queue(queue).kind == .quorum)
            }
        }

        @Test func managementOfAHundredAtOnce() async throws {
            try await RabbitMQScene.with { scene in
                let names = try await withThrowingTaskGroup(of: String.self) { group in
                    for _ in 0..<100 { group.addTask { try await scene.declare { $0.isExclusive = true } } }
                    var names: [String] = []
                    for try await name in group { names.append(name) }
                    return names
                }
                #expect(Set(names).count == 100)
                try await withThrowingDiscardingTaskGroup { group in
                    for name in names {
                        group.addTask {
                            let found = try await scene.management.queue(name).name
                            #expect(found == name)
                        }
                    }
                }
                for name in names { try await scene.management.deleteQueue(name) }
            }
        }

        @Test func bindingsWithArguments() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                let exchange = try await scene.declareExchange(.headers)
                let inner = try await scene.declareExchange(.fanout)
                let arguments: AMQPMap = ["x-match": "all", "size": 2, "kind": "book"]
                let binding = RabbitMQBinding(exchange: exchange, to: .exchange(inner), arguments: arguments)
                try await scene.management.bind(binding)
                try await scene.management.bind(RabbitMQBinding(exchange: inner, to: .queue(queue)))
                let sender = try await scene.session.openSender(to: RabbitMQAddress.exchange(exchange))
                var message = AMQPMessage(body: "a book")
                message.applicationProperties = ["size": 2, "kind": "book"]
                #expect(try await sender.send(message) == .accepted)
                message.applicationProperties = ["size": 3, "kind": "book"]
                #expect(try await sender.send(message) == .released)
                try await scene.management.unbind(binding)
                message.applicationProperties = ["size": 2, "kind": "book"]
                #expect(try await sender.send(message) == .released)
                #expect(try await scene.management.purgeQueue(queue) == 1)
            }
        }
    }
}
