// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

extension RabbitMQTests {
    /// Several consumers of one queue, and serial numbers that wrap.
    @Suite(.timeLimit(.minutes(5)))
    struct Consumers {
        /// The number of arrivals of each message.
        private final class Counts: Sendable {
            private let counts: Mutex<[Int]>

            init(_ count: Int) { self.counts = Mutex([Int](repeating: 0, count: count)) }

            func add(_ number: Int) { self.counts.withLock { $0[number] += 1 } }
            var isComplete: Bool { self.counts.withLock { !$0.contains(0) } }
            var areAllOne: Bool { self.counts.withLock { $0.allSatisfy { $0 == 1 } } }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func singleActiveConsumersFollowInOrder(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind) { $0.hasSingleActiveConsumer = true }
                try await scene.fill(queue, numbers: 0..<1_000)
                // Each receiver has a connection of its own, like separate services.
                var connections: [AMQPConnection] = []
                var receivers: [AMQPReceiver] = []
                for _ in 0..<3 {
                    let connection = try await AMQPConnection.connect(to: scene.broker.url)
                    let session = try await connection.openSession()
                    receivers.append(
                        try await session.openReceiver(from: RabbitMQAddress.queue(queue), window: .messages(100))
                    )
                    connections.append(connection)
                }
                #expect(try await receivers[0].takeBodies(300) == (0..<300).map { "\($0)" })
                #expect(receivers[1].bufferedMessages == 0 && receivers[2].bufferedMessages == 0)
                // The prefetched messages return in order.
                try await receivers[0].close().check()
                #expect(try await receivers[1].takeBodies(300) == (300..<600).map { "\($0)" })
                #expect(receivers[2].bufferedMessages == 0)
                try await connections[1].close().check()
                #expect(try await receivers[2].takeBodies(400) == (600..<1_000).map { "\($0)" })
                try await scene.expectEmpty(queue)
                try await connections[0].close().check()
                try await connections[2].close().check()
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func eightConsumersOfOneQueue(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind)
                let count = 20_000
                let counts = Counts(count)
                var connections: [AMQPConnection] = []
                var receivers: [AMQPReceiver] = []
                for _ in 0..<8 {
                    let connection = try await AMQPConnection.connect(to: scene.broker.url)
                    let session = try await connection.openSession()
                    receivers.append(try await session.openReceiver(from: RabbitMQAddress.queue(queue)))
                    connections.append(connection)
                }
                let taken = try await withThrowingTaskGroup(of: Int.self) { group in
                    for receiver in receivers { group.addTask { try await Self.take(receiver, counts) } }
                    try await scene.fill(queue, numbers: 0..<count)
                    try await waitUntil("all messages") { counts.isComplete }
                    for receiver in receivers { try await receiver.close().check() }
                    return try await group.reduce(into: [Int]()) { $0.append($1) }
                }
                #expect(taken.count == 8 && taken.allSatisfy { $0 > 0 }, "\(taken)")
                #expect(taken.reduce(0, +) == count)
                for connection in connections { try await connection.close().check() }
                #expect(counts.areAllOne)
                try await scene.expectEmpty(queue)
            }
        }

        private static func take(_ receiver: AMQPReceiver, _ counts: Counts) async throws -> Int {
            var taken = 0
            while let delivery = try await receiver.next() {
                counts.add(try #require(try delivery.decodeMessage().bodyString.flatMap(Int.init)))
                delivery.accept()
                taken += 1
            }
            return taken
        }

        @Test func serialNumbersWrap() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                let session = try await scene.connection.openSession()
                // The broker begins four below the end of its numbers.
                #expect(try await session.snapshot().nextIncomingID == 0xFFFF_FFFC)
                try await scene.fill(queue, numbers: 0..<2_000)
                let address = RabbitMQAddress.queue(queue)
                let windows: [AMQPReceiver.Window] = [.messages(3), .onDemand, .messages(100), .automatic]
                for (round, window) in windows.enumerated() {
                    let first = 500 * round
                    let receiver = try await session.openReceiver(from: address, window: window)
                    #expect(try await receiver.takeBodies(500) == (first..<first + 500).map { "\($0)" })
                    try await receiver.close().check()
                    // The prefetched messages have returned.
                    try await waitUntil("the rest") {
                        try await scene.management.queue(queue).messageCount == 2_000 - first - 500
                    }
                }
                #expect(try await session.snapshot().nextIncomingID < 0x8000_0000)
                try await scene.expectEmpty(queue)
                // A drain also advances the link's delivery-count beyond the wrap.
                let receiver = try await session.openReceiver(from: address)
                #expect(try await receiver.receive(timeout: .zero) == nil)
                try await scene.fill(queue, numbers: 0..<1)
                #expect(try await receiver.takeBodies(1) == ["0"])
            }
        }

        @Test func theBrokersOpen() async throws {
            try await RabbitMQScene.with { scene in
                let peer = scene.connection.peer
                #expect(peer.properties[symbol: "product"] == "RabbitMQ")
                #expect(peer.maxFrameSize == 131_072 && peer.channelMax == 63)
                #expect(Set(peer.offeredCapabilities).isSuperset(of: ["LINK_PAIR_V1_0", "ANONYMOUS-RELAY"]))
                let session = try await scene.session.snapshot()
                #expect(session.remoteIncomingWindow == 400)
            }
        }
    }
}
