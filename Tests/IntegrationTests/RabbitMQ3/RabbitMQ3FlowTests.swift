// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport
import Testing

extension RabbitMQ3Tests {
    /// Many messages, slow consumers, and a broker without memory: no message is lost or arrives twice.
    @Suite(.timeLimit(.minutes(10)))
    struct Flow {
        @Test func twentyThousandThroughAQueue() async throws {
            try await RabbitMQ3Scene.with { scene in
                let count = 20_000
                let connection = try await AMQPConnection.connect(to: scene.broker.url)
                let receiver = try await connection.openSession().openReceiver(from: scene.address)
                let receiving = Task { try await Self.takeNumbers(count, receiver) }
                let sender = try await scene.openSender()
                let account = OutcomeAccount()
                for number in 0..<count { account.add(try await sender.enqueue(AMQPMessage(body: "\(number)"))) }
                #expect(try await receiving.value == Array(0..<count))
                try await waitUntil("every outcome") { account.isComplete }
                #expect(account.accepted == count && account.other.isEmpty, "\(account.other.prefix(3))")
                try await scene.expectEmpty()
                #expect(receiver.bufferedMessages == 0)
                try await connection.close().check()
            }
        }

        /// If credit is topped up while messages are in flight, the broker may exceed the credit: see the next test.
        @Test(arguments: [AMQPReceiver.Window.messages(1), .onDemand, .unbounded])
        func aFilledQueueWithASafeWindow(_ window: AMQPReceiver.Window) async throws {
            try await RabbitMQ3Scene.with { scene in
                try await scene.fill(0..<3_000)
                let receiver = try await scene.openReceiver(window: window)
                #expect(try await receiver.takeBodies(3_000) == (0..<3_000).map { "\($0)" })
                try await scene.expectEmpty()
            }
        }

        /// The messages of a link that closed for an overrun return with the end of the connection. None is lost, and
        /// the error names the reason. The broker may not answer the end of a session, so each round uses a new
        /// connection.
        @Test func messagesOfAnOverrunLinkReturn() async throws {
            try await RabbitMQ3Scene.with { scene in
                try await scene.fill(0..<3_000)
                var numbers: Set<Int> = []
                var ends = 0
                while numbers.count < 3_000 {
                    let connection = try await AMQPConnection.connect(to: scene.broker.url)
                    let window = ends < 3 ? AMQPReceiver.Window.messages(20) : .unbounded
                    let receiver = try await connection.openSession().openReceiver(from: scene.address, window: window)
                    do {
                        while numbers.count < 3_000 {
                            let delivery = try await receiver.take()
                            numbers.insert(try #require(Int(delivery.decodeMessage().bodyString ?? "")))
                            delivery.accept()
                        }
                    } catch let error as AMQPError {
                        #expect(error.scope == .link && error.condition == .linkTransferLimitExceeded, "\(error)")
                        ends += 1
                    }
                    try await connection.close().check()
                }
                #expect(numbers == Set(0..<3_000))
                try await scene.expectEmpty()
                print("RabbitMQ 3 sent beyond the credit, and its link was closed: \(ends) times")
            }
        }

        private static func takeNumbers(_ count: Int, _ receiver: AMQPReceiver) async throws -> [Int] {
            var numbers: [Int] = []
            while numbers.count < count {
                let batch = try await receiver.nextBatch(max: 1_000)
                guard !batch.isEmpty else { throw NoFailure(what: "a link that was closed") }
                for delivery in batch { numbers.append(try #require(Int(delivery.decodeMessage().bodyString ?? ""))) }
                batch.acceptAll()
            }
            return numbers
        }

        /// A second receiver of the same queue, and one of another queue, continue meanwhile.
        @Test func aFullConsumerStallsNoOther() async throws {
            try await RabbitMQ3Scene.with { scene in
                let other = "/queue/\(try await scene.declare(""))"
                let full = try await scene.openReceiver(window: .messages(10))
                try await scene.fill(0..<10)
                try await waitUntil("it is full") { full.bufferedMessages == 10 }
                #expect(full.credit == 0)
                let beside = try await scene.openReceiver()
                let apart = try await scene.openReceiver(from: "/amq\(other)")
                try await scene.fill(10..<2_000)
                try await scene.fill(0..<2_000, to: "/amq\(other)")
                #expect(try await beside.takeBodies(1_990) == (10..<2_000).map { "\($0)" })
                #expect(try await apart.takeBodies(2_000) == (0..<2_000).map { "\($0)" })
                #expect(full.bufferedMessages == 10 && full.credit == 0)
                #expect(try await full.takeBodies(10) == (0..<10).map { "\($0)" })
                try await scene.expectEmpty()
            }
        }

        /// The alarm does not stop senders that use AMQP 1.0.
        @Test func aMemoryAlarm() async throws {
            try await RabbitMQ3Scene.with(limit: .seconds(300)) { scene in
                do {
                    try await Self.alarm(scene)
                } catch {
                    _ = try? await scene.broker.control("set_vm_memory_high_watermark", "absolute", "2GB")
                    throw error
                }
            }
        }

        private static func alarm(_ scene: RabbitMQ3Scene) async throws {
            let other = "/amq/queue/\(try await scene.declare(""))"
            try await scene.fill(0..<300, to: other)
            let consuming = try await AMQPConnection.connect(to: scene.broker.url)
            let consumer = try await consuming.openSession().openReceiver(from: other, window: .onDemand)

            // Without the limit, the test would send hundreds of thousands of messages.
            let sender = try await scene.openSender { $0.rateLimit = .init(messagesPerSecond: 3_000) }
            let account = OutcomeAccount()
            let stop = Atomic(false)
            let sending = Task {
                while !stop.load(ordering: .relaxed) {
                    account.add(try await sender.enqueue(AMQPMessage(body: "\(account.sent)")))
                }
            }
            try await waitUntil("messages flow") { account.accepted > 500 }
            try await scene.broker.control("set_vm_memory_high_watermark", "0")
            #expect(try await scene.broker.control("eval", "rabbit_alarm:get_alarms().").contains("memory"))
            let before = account.accepted
            #expect(try await consumer.takeBodies(300) == (0..<300).map { "\($0)" })
            try await waitUntil("messages flow") { account.accepted > before + 500 }
            #expect(try await scene.broker.control("eval", "rabbit_alarm:get_alarms().").contains("memory"))
            try await scene.broker.control("set_vm_memory_high_watermark", "absolute", "2GB")
            stop.store(true, ordering: .relaxed)
            try await sending.value
            try await waitUntil("every outcome") { account.isComplete }
            #expect(account.other.isEmpty, "\(account.other.prefix(3))")
            #expect(scene.connection.error == nil)
            try await consuming.close().check()
            let reader = try await scene.openReceiver(window: .unbounded)
            #expect(try await self.takeNumbers(account.sent, reader) == Array(0..<account.sent))
            try await scene.expectEmpty()
            print("memory alarm of RabbitMQ 3: \(account.sent) messages, all accepted, each once and in order")
        }
    }
}
