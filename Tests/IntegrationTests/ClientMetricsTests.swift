// SPDX-License-Identifier: Apache-2.0

import MetricsTestKit
import QpidProton
import TestSupport
import Testing

/// The metrics that a client and its consumers report to swift-metrics.
@Suite(.timeLimit(.minutes(3)))
struct ClientMetricsTests {
    private static func settings(_ metrics: TestMetrics) -> AMQPMetrics {
        var settings = AMQPMetrics()
        settings.factory = metrics
        settings.name = { "shop." + $0 }
        settings.dimensions = [("peer", "one")]
        return settings
    }

    private static func total(_ metrics: TestMetrics, _ name: String, _ dimensions: [(String, String)] = []) -> Int64 {
        metrics.counters
            .filter { $0.label == "shop.\(name)" && $0.dimensions.map(\.1) == ["one"] + dimensions.map(\.1) }
            .reduce(0) { $0 + $1.totalValue }
    }

    @Test func lossesAndRecoveriesAreCounted() async throws {
        let metrics = TestMetrics()
        try await withClient {
            $0.connection.metrics = Self.settings(metrics)
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            #expect(Self.total(metrics, "amqp.client.attempts") == 1)
            peer.settle(false)
            for id in 0..<3 { _ = try await sender.enqueue(AMQPMessage(body: "\(id)")) }
            try await waitUntil("the messages") { peer.ids.count == 3 }
            peer.settle(true)
            proxy.end(.cut, .toServer)
            try await waitUntil("the outcomes") { sender.fates.accepted == 3 && client.health.isReady }
            #expect(Self.total(metrics, "amqp.client.losses") == 1)
            #expect(Self.total(metrics, "amqp.client.in_doubt") == 3)
            #expect(Self.total(metrics, "amqp.client.replayed") == 3)
            #expect(Self.total(metrics, "amqp.client.attempts") >= 2)
            try await waitUntil("the time") { metrics.timers.contains { $0.label == "shop.amqp.client.down" } }
            let down = try #require(metrics.timers.first { $0.label == "shop.amqp.client.down" })
            #expect(down.values.count == 1 && down.values[0] > 0)
            // This loss ends only the link.
            peer.settle(false)
            _ = try await sender.enqueue(AMQPMessage(body: "3"))
            try await waitUntil("the message") { peer.ids.count == 7 }
            _ = await peer.receivers[1].close(AMQPError(scope: .link, condition: .linkDetachForced))
            try await waitUntil("the replay") { peer.ids.count == 8 }
            #expect(Self.total(metrics, "amqp.client.link_losses") == 1)
            #expect(Self.total(metrics, "amqp.client.losses") == 1)
            #expect(Self.total(metrics, "amqp.client.in_doubt") == 4)
            #expect(Self.total(metrics, "amqp.client.replayed") == 4)
        }
    }

    @Test func aConsumerIsCounted() async throws {
        let metrics = TestMetrics()
        try await withClient {
            $0.connection.metrics = Self.settings(metrics)
        } _: { client, peer, _ in
            var configuration = AMQPConsumer.Configuration(source: "jobs")
            configuration.attempts = 1
            let consumer = AMQPConsumer(client, configuration) { delivery in
                if try delivery.text == "bad" { throw HandlerFailure() }
            }
            let running = Task { try await consumer.run() }
            try await waitUntil("the link") { peer.senders.count == 1 }
            for body in ["a", "bad", "b", "bad", "c"] { _ = try await peer.senders[0].enqueue(AMQPMessage(body: body)) }
            try await waitUntil("the results") { consumer.result.accepted == 3 && consumer.result.rejected == 2 }
            let address = [("address", "jobs")]
            try await waitUntil("the counts") {
                Self.total(metrics, "amqp.consumer.handled", address) == 5
                    && Self.total(metrics, "amqp.consumer.rejected", address) == 2
            }
            #expect(Self.total(metrics, "amqp.consumer.failed", address) == 2)
            let times = try #require(metrics.timers.first { $0.label == "shop.amqp.consumer.handler_time" })
            #expect(times.values.count == 5 && times.dimensions.map(\.1) == ["one", "jobs"])
            await consumer.stop(within: .seconds(5))
            try await running.value
        }
    }
}
