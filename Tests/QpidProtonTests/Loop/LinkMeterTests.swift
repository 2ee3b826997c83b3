// SPDX-License-Identifier: Apache-2.0

import MetricsTestKit
import Testing

@testable import QpidProton

/// The counts of one link, and of the links that share an address and a role.
@Suite struct LinkMeterTests {
    private let metrics = TestMetrics()
    private let group: LinkGroup
    private let status = LinkStatus(
        name: "l",
        key: LinkKey(session: SlotKey(bitPattern: 1), link: SlotKey(bitPattern: 1))
    )

    init() {
        var settings = AMQPMetrics()
        settings.factory = self.metrics
        self.group = LinkGroup(settings, address: "q", role: "sender")
    }

    private func total(_ name: MetricName, _ outcome: String? = nil) -> Int64 {
        let dimensions = [("address", "q")] + (outcome.map { [("outcome", $0)] } ?? [])
        return self.metrics.counters(label: name.rawValue, dimensions: dimensions).reduce(0) { $0 + $1.totalValue }
    }

    @Test func countsAreWrittenOnceWithTheFlush() {
        let meter = LinkMeter(self.group, self.status)
        meter.receive(100)
        meter.receive(0)
        #expect(self.metrics.counters.isEmpty)
        self.group.flush()
        #expect(self.total(.messagesReceived) == 2 && self.total(.bytesReceived) == 100)
        self.group.flush()
        #expect(self.total(.messagesReceived) == 2 && self.total(.bytesReceived) == 100)
        // An event that has not occurred has no series.
        #expect(self.metrics.counters.count == 2)
    }

    @Test func everyOutcomeHasADimensionOfItsOwn() {
        let meter = LinkMeter(self.group, self.status)
        let refused = AMQPError(condition: .notAllowed)
        for answer in [OutcomeBlock.Answer.success(.accepted), .success(.released), .failure(refused)] {
            meter.outcome(answer, number: 1, at: 0)
        }
        meter.fail(refused.telling(.expired))
        meter.fail(unsent: 3, inDoubt: 2)
        meter.decide(.released)
        self.group.flush()
        let outcomes = ["accepted", "released", "expired", "not_sent", "in_doubt"].map { self.total(.outcomes, $0) }
        #expect(outcomes == [1, 1, 1, 3, 3])
        #expect(self.total(.settlements, "released") == 1)
        // The meter did not see these messages leave, so it records no times for them.
        #expect(self.metrics.timers.isEmpty)
    }

    @Test func writtenBytesAreCounted() {
        let meter = LinkMeter(self.group, self.status)
        meter.write(70)
        meter.write(30)
        self.group.flush()
        #expect(self.total(.bytesSent) == 100 && self.total(.messagesSent) == 0)
    }

    @Test func droppedMessagesAreCountedOnce() {
        let meter = LinkMeter(self.group, self.status)
        self.status.drop(4, bytes: 40)
        for _ in 0..<2 { meter.updateDropped() }
        self.status.drop(1, bytes: 10)
        meter.updateDropped()
        self.group.flush()
        #expect(self.total(.outcomes, "dropped") == 5)
    }

    @Test func lostDecisionsAreCountedAtOnce() {
        LinkMeter(self.group, self.status).lost(6)
        #expect(self.total(.settlementsLost) == 6)
    }

    @Test func blocksAddUpByTheirCauses() throws {
        self.group.addBlocked(500, .credit)
        self.group.addBlocked(700, .credit)
        self.group.addBlocked(0, .socket)
        self.group.flush()
        self.group.flush()
        let dimensions = [("address", "q"), ("role", "sender"), ("cause", AMQPBlockCause.credit.rawValue)]
        let counters = self.metrics.counters(label: MetricName.blockedNanoseconds.rawValue)
        #expect(counters.count == 1)
        #expect(try self.metrics.expectCounter(MetricName.blockedNanoseconds.rawValue, dimensions).totalValue == 1_200)
    }

    @Test func gaugesEndWithTheLastLink() throws {
        self.group.levels = .init(links: 1, bytes: 10, messages: 2, credit: 5, unsettled: 3)
        self.group.recordLevels()
        let names: [MetricName] = [.linkBytes, .linkMessages, .linkCredit, .linkUnsettled]
        let dimensions = [("address", "q"), ("role", "sender")]
        let gauges = try names.map { try self.metrics.expectGauge($0.rawValue, dimensions) }
        #expect(gauges.map(\.lastValue) == [10, 2, 5, 3])
        self.group.levels = .init()
        self.group.recordLevels()
        #expect(gauges.map(\.lastValue) == [0, 0, 0, 0] && self.metrics.recorders.isEmpty)
    }

    @Test func aNegativeTimeIsNotRecorded() {
        self.group.recordOutcome(after: -5)
        self.group.recordOutcome(after: 9)
        #expect(self.metrics.timers.flatMap(\.values) == [0, 9])
    }
}
