// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

extension RabbitMQTests {
    /// Consumers that handle messages completely, at each kind of queue.
    @Suite(.timeLimit(.minutes(5)))
    struct Consuming {
        private struct Failure: Error, CustomStringConvertible {
            var description = "no stock"
        }

        /// The attempts of each message, in order.
        private final class Attempts: Sendable {
            private let state = Mutex<[String: [Int]]>([:])
            var all: [String: [Int]] { self.state.withLock { $0 } }
            func note(_ delivery: AMQPConsumer.Delivery) throws -> String {
                let body = try delivery.decodeMessage().bodyString ?? "?"
                self.state.withLock { $0[body, default: []].append(delivery.attempt) }
                return body
            }
        }

        /// Runs a consumer until `isDone`, and returns its counts.
        private func consume(
            _ scene: RabbitMQScene,
            _ configuration: AMQPConsumer.Configuration,
            through proxy: FaultProxy? = nil,
            until isDone: @escaping @Sendable (AMQPConsumerResult) -> Bool,
            _ handler: @escaping @Sendable (AMQPConsumer.Delivery) async throws -> Void
        ) async throws -> AMQPConsumerResult {
            let url = proxy.map { "amqp://guest:guest@127.0.0.1:\($0.port)" } ?? scene.broker.url
            return try await AMQPClient.withClient(url: url) { client in
                let consumer = AMQPConsumer(client, configuration, handler: handler)
                let running = Task { try await consumer.run() }
                try await waitUntil("the messages") { isDone(consumer.result) }
                await consumer.stop(within: .seconds(10))
                try await running.value
                return consumer.result
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func aFailedMessageReturnsAndIsRejectedAtTheLastAttempt(_ kind: RabbitMQQueue.Kind)
            async throws
        {
            try await RabbitMQScene.with { scene in
                let letters = try await scene.declare()
                let queue = try await scene.declare(kind) { queue in
                    queue.deadLetterExchange = ""
                    queue.deadLetterKey = letters
                }
                try await scene.fill(queue, (0..<10).map { AMQPMessage(body: $0 == 3 ? "bad" : "\($0)") })
                let attempts = Attempts()
                let configuration = AMQPConsumer.Configuration(source: RabbitMQAddress.queue(queue))
                let result = try await self.consume(
                    scene,
                    configuration,
                    until: { $0.rejected == 1 && $0.accepted == 9 }
                ) {
                    if try attempts.note($0) == "bad" { throw Failure() }
                }
                print("\(kind): \(result)")
                #expect(attempts.all["bad"] == [1, 2, 3])
                #expect(result.failed == 2 && result.handled == 12 && result.stale == 0)
                try await scene.expectEmpty(queue)
                let receiver = try await scene.openReceiver(from: letters)
                #expect(try await receiver.takeBodies(1) == ["bad"])
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func releasedMessagesAreConsumedLater(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind)
                try await scene.fill(queue, numbers: 0..<100)
                var configuration = AMQPConsumer.Configuration(source: RabbitMQAddress.queue(queue))
                configuration.concurrency = 4
                configuration.prefetch = .messages(20)
                let first = try await self.consume(scene, configuration, until: { $0.handled >= 30 }) { _ in
                    try await Task.sleep(for: .milliseconds(2))
                }
                #expect(first.received == first.accepted + first.released && first.released > 0, "\(first)")
                #expect(try await scene.management.queue(queue).messageCount == 100 - first.accepted)
                let second = try await self.consume(
                    scene,
                    configuration,
                    until: { $0.accepted == 100 - first.accepted }
                ) {
                    _ in
                }
                print("\(kind): \(first); then \(second)")
                try await scene.expectEmpty(queue)
            }
        }

        @Test func aStreamIsReadToItsEndThroughLosses() async throws {
            try await RabbitMQScene.with { scene in
                let stream = try await scene.declare(.stream)
                try await scene.fill(stream, numbers: 0..<2_000)
                try await FaultProxy.with(to: scene.broker.port) { proxy in
                    let (attempts, cuts) = (Attempts(), Set(["200", "700", "1501"]))
                    var configuration = AMQPConsumer.Configuration(.rabbitMQStream(stream, from: .first))
                    configuration.retryDelay = .milliseconds(1)
                    let result = try await self.consume(
                        scene,
                        configuration,
                        through: proxy,
                        until: { $0.handled >= 2_002 && $0.inProgress == 0 }
                    ) {
                        let body = try attempts.note($0)
                        if cuts.contains(body) { proxy.end(.cut, .toServer) }
                        // A message that fails on every attempt is rejected, and the stream continues.
                        if body == "1500" { throw Failure() }
                    }
                    print("stream: \(result)")
                    let all = attempts.all
                    #expect(all.count == 2_000 && all["1500"] == [1, 2, 3])
                    #expect(all.filter { $0.value != [1] }.keys.sorted() == ["1500"])
                    #expect(result.retried == 2 && result.rejected == 1 && result.accepted == 1_999)
                    #expect(result.stale == 0)
                }
            }
        }
    }
}
