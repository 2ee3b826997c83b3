// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

extension RabbitMQTests {
    /// Streams, and the offsets at which receivers begin.
    @Suite(.timeLimit(.minutes(5)))
    struct Streams {
        private func offset(_ delivery: AMQPDelivery) throws -> Int? {
            try delivery.decodeMessage().messageAnnotations[symbol: "x-stream-offset"]?.intValue
        }

        /// Reads the numbers from the first one that arrives to the last of `count`, and expects each at its offset.
        private func read(
            _ scene: RabbitMQScene,
            _ stream: String,
            from offset: AMQPStreamOffset,
            to count: Int
        ) async throws -> Int {
            let receiver = try await scene.session.openReceiver(.init(source: .rabbitMQStream(stream, from: offset)))
            var first: Int?
            var last = -1
            repeat {
                let delivery = try await receiver.take()
                let number = try #require(try self.offset(delivery))
                #expect(try delivery.decodeMessage().bodyString == "\(number)")
                #expect(first == nil || number == last + 1)
                first = first ?? number
                last = number
                delivery.accept()
            } while last < count - 1
            try await receiver.close().check()
            return try #require(first)
        }

        @Test func fromEveryOffset() async throws {
            try await RabbitMQScene.with { scene in
                let stream = try await scene.declare(.stream)
                try await scene.fill(stream, numbers: 0..<1_000)
                // The broker compares times in seconds.
                let second = AMQPTimestamp.now().millisecondsSinceEpoch / 1_000 + 1
                try await waitUntil("the next second") { AMQPTimestamp.now().millisecondsSinceEpoch >= second * 1_000 }
                try await scene.fill(stream, numbers: 1_000..<1_100)
                let time = AMQPTimestamp(millisecondsSinceEpoch: second * 1_000)

                #expect(try await self.read(scene, stream, from: .first, to: 1_100) == 0)
                #expect(try await self.read(scene, stream, from: .offset(0), to: 1_100) == 0)
                #expect(try await self.read(scene, stream, from: .offset(777), to: 1_100) == 777)
                #expect(try await self.read(scene, stream, from: .timestamp(time), to: 1_100) == 1_000)
                // The last chunk contains the last message, and the messages that were written with it.
                let last = try await self.read(scene, stream, from: .last, to: 1_100)
                #expect((1_000..<1_100).contains(last))
                // Messages that were read and accepted stay in the stream.
                #expect(try await self.read(scene, stream, from: .first, to: 1_100) == 0)
            }
        }

        @Test func messagesWrittenFromNowOn() async throws {
            try await RabbitMQScene.with { scene in
                let stream = try await scene.declare(.stream)
                try await scene.fill(stream, numbers: 0..<10)
                var receivers: [AMQPReceiver] = []
                for offset in [AMQPStreamOffset.next, .offset(10)] {
                    let source = AMQPSource.rabbitMQStream(stream, from: offset)
                    receivers.append(try await scene.session.openReceiver(.init(source: source)))
                }
                try await scene.fill(stream, numbers: 10..<12)
                for receiver in receivers { #expect(try await receiver.takeBodies(2) == ["10", "11"]) }
            }
        }

        @Test func manyReadersOfOneStream() async throws {
            try await RabbitMQScene.with { scene in
                let stream = try await scene.declare(.stream)
                try await scene.fill(stream, numbers: 0..<5_000)
                try await withThrowingDiscardingTaskGroup { group in
                    for start in [0, 1, 2_499, 4_999] {
                        group.addTask {
                            let offset = AMQPStreamOffset.offset(UInt64(start))
                            let first = try await self.read(scene, stream, from: offset, to: 5_000)
                            #expect(first == start)
                        }
                    }
                }
            }
        }

        @Test func aStreamIsNotPurged() async throws {
            try await RabbitMQScene.with { scene in
                let stream = try await scene.declare(.stream)
                let error = try await failure(of: "purging") { try await scene.management.purgeQueue(stream) }
                #expect(error.condition == .invalidField && error.detail.contains("purge"))
            }
        }
    }
}
