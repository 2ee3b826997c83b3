// SPDX-License-Identifier: Apache-2.0

import MetricsTestKit
import Testing

@testable import QpidProton

/// The metrics of one connection: its gauges live as long as the connection, and its counters live longer.
@Suite struct FlowMetricsTests {
    private let metrics = TestMetrics()
    private let settings: AMQPMetrics

    init() {
        var settings = AMQPMetrics()
        settings.factory = self.metrics
        self.settings = settings
    }

    private func gauge(_ name: MetricName) -> Double? {
        self.metrics.recorders(label: name.rawValue).first?.lastValue
    }

    private func errors() -> [String] {
        self.metrics.counters(label: MetricName.connectionErrors.rawValue).flatMap { counter in
            counter.dimensions.map(\.1) + ["\(counter.totalValue)"]
        }
    }

    @Test func aConnectionCountsFromItsOpeningToItsEnd() {
        let flow = FlowMetrics(self.settings)
        flow.start()
        flow.opened()
        #expect(self.gauge(.connections) == 1)
        #expect(self.metrics.counterTotal(label: MetricName.connectionsOpened.rawValue) == 1)
        flow.ended(nil)
        #expect(self.gauge(.connections) == 0 && self.errors() == [])
    }

    @Test func connectionsOfTheSameSettingsAddUp() {
        let flows = (0..<3).map { _ in FlowMetrics(self.settings) }
        for flow in flows {
            flow.start()
            flow.opened()
        }
        #expect(self.gauge(.connections) == 3)
        flows[0].stop()
        #expect(self.gauge(.connections) == 2)
        flows[1].ended(nil)
        #expect(self.gauge(.connections) == 1)
    }

    @Test func theGaugesEndWithTheLastConnection() {
        let flow = FlowMetrics(self.settings)
        flow.start()
        flow.opened()
        flow.stop()
        #expect(self.metrics.recorders.isEmpty)
        // A stopped connection does not start again.
        flow.start()
        flow.opened()
        #expect(self.metrics.recorders.isEmpty)
    }

    @Test func anErrorIsCountedUnderADefinedCondition() {
        let flow = FlowMetrics(self.settings)
        flow.ended(AMQPError(scope: .connection, condition: .idleTimeout))
        #expect(self.errors() == [AMQPCondition.idleTimeout.rawValue, "1"])
        // An invented condition does not create a series of its own.
        let invented = FlowMetrics(self.settings)
        for number in 0..<3 {
            invented.ended(AMQPError(scope: .connection, condition: AMQPCondition(rawValue: "x:\(number)")))
        }
        #expect(self.errors().contains("3") && self.errors().contains(MetricsHub.other) && self.errors().count == 4)
    }

    /// Bytes that a link released after its end count for no link.
    @Test func bytesOfAnUnknownLinkAreNotCounted() {
        let flow = FlowMetrics(self.settings)
        let message = singleMessage(1)
        flow.written(InFlightBytes(bytes: 10, node: SlotKey(bitPattern: 9), settled: nil), isDone: true)
        flow.count(AMQPError(condition: .cancelled), of: message)
        flow.stop()
        flow.lost([InFlightBytes(bytes: 10, node: SlotKey(bitPattern: 9), settled: message.outcome)])
        message.fail(.cancelled)
        #expect(self.metrics.counters.isEmpty)
    }
}
