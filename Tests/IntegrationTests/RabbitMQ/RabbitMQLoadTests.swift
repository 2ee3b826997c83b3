// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

extension RabbitMQTests {
    /// Many messages through one queue: none is lost, and none arrives twice.
    @Suite(.timeLimit(.minutes(20)))
    struct Load {
        private static let isLong = ProcessInfo.processInfo.environment["QPID_PROTON_LONG_TESTS"] != nil

        @Test func manyThroughAClassicQueue() async throws {
            try await self.pass(Self.isLong ? 1_000_000 : 100_000, .classic)
        }

        @Test func aHundredThousandThroughAQuorumQueue() async throws {
            try await self.pass(100_000, .quorum)
        }

        private func pass(_ count: Int, _ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with(limit: .seconds(900)) { scene in
                let queue = try await scene.declare(kind)
                let outcomes = Mutex((accepted: 0, other: 0))
                // Sender and receiver have connections of their own, like separate services.
                let connection = try await AMQPConnection.connect(to: scene.broker.url)
                let receiver = try await connection.openSession().openReceiver(from: RabbitMQAddress.queue(queue))
                let receiving = Task { try await Self.receive(count, receiver) }
                let sender = try await scene.openSender(to: queue)
                for number in 0..<UInt64(count) {
                    var body = ByteBuffer()
                    body.writeInteger(number)
                    var message = AMQPMessage(body: body)
                    message.header.durable = true
                    try await sender.enqueue(message).whenSettled { result in
                        outcomes.withLock { outcomes in
                            if result == .success(.accepted) { outcomes.accepted += 1 } else { outcomes.other += 1 }
                        }
                    }
                }
                try await waitUntil("every outcome", within: .seconds(600)) {
                    outcomes.withLock { $0.accepted + $0.other == count }
                }
                #expect(outcomes.withLock { $0.accepted } == count)
                let times = try await receiving.value
                #expect(times.allSatisfy { $0 == 1 })
                // No message remains that could arrive again.
                try await waitUntil("the queue is empty") {
                    let info = try await scene.management.queue(queue)
                    return info.messageCount == 0
                }
                #expect(try await receiver.receive(timeout: .zero) == nil)
                try await connection.close().check()
            }
        }

        /// Returns the number of arrivals of each message.
        private static func receive(_ count: Int, _ receiver: AMQPReceiver) async throws -> [UInt8] {
            var times = [UInt8](repeating: 0, count: count)
            var received = 0
            while received < count {
                let batch = try await receiver.nextBatch(max: 1_000)
                guard !batch.isEmpty else { throw NoFailure(what: "a link that was closed") }
                for delivery in batch {
                    var body = try delivery.decodeMessage().bodyBytes ?? ByteBuffer()
                    let number = try #require(body.readInteger(as: UInt64.self).flatMap(Int.init(exactly:)))
                    times[number] &+= 1
                    received += 1
                }
                batch.acceptAll()
            }
            return times
        }
    }
}
