// SPDX-License-Identifier: Apache-2.0

import CProton
import CoreMetrics
import Foundation
import MetricsTestKit
import NIOCore
import Testing

@testable import QpidProton

/// The metrics that a connection reports to swift-metrics.
@Suite(.deadline)
struct MetricsTests {
    /// Returns settings that write to a factory of their own every second.
    private static func settings(_ metrics: TestMetrics) -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        var settings = AMQPMetrics()
        settings.factory = metrics
        configuration.metrics = settings
        configuration.idleTimeout = nil
        return configuration
    }

    private static func undecided(credit: Int? = 100) -> PeerScript {
        var script = PeerScript(credit: credit)
        script.onMessage = { _, _ in .none }
        return script
    }

    private func outcomes(_ metrics: TestMetrics, _ address: String = "q") -> [String: Int64] {
        var outcomes: [String: Int64] = [:]
        for counter in metrics.counters(label: "amqp.outcomes", dimensions: [("address", address)]) {
            outcomes[counter.dimensions.first { $0.0 == "outcome" }?.1 ?? "", default: 0] += counter.totalValue
        }
        return outcomes
    }

    private func total(_ metrics: TestMetrics, _ name: MetricName, _ dimensions: [(String, String)] = []) -> Int64 {
        metrics.counterTotal(label: name.rawValue, dimensions: dimensions)
    }

    // MARK: Names

    @Test func theDocumentedNamesEqualTheEnum() throws {
        let names = MetricName.allCases.map(\.rawValue)
        let article = try Article.observability.rows(under: "Metric")
        #expect(article.map { $0[0] } == names)
        let source = try Article(path: "Sources/QpidProton/Observability/AMQPMetrics.swift").text
        let rows = source.split(separator: "\n").filter { $0.hasPrefix("/// | `amqp.") }
        #expect(rows.map { Article.cells($0.dropFirst(4)) } == article)
        #expect(names.allSatisfy { $0.hasPrefix("amqp.") })
    }

    /// Each emitted metric has the documented kind and dimensions, and there are no others.
    @Test func theDocumentedMetricsEqualTheEmittedOnes() async throws {
        let metrics = TestMetrics()
        var emitted: [String: (kind: String, dimensions: Set<String>)] = [:]
        func look() {
            for counter in metrics.counters { emitted[counter.label] = ("counter", Set(counter.dimensions.map(\.0))) }
            for timer in metrics.timers { emitted[timer.label] = ("timer", Set(timer.dimensions.map(\.0))) }
            for gauge in metrics.recorders { emitted[gauge.label] = ("gauge", Set(gauge.dimensions.map(\.0))) }
        }
        try await withSession(configuration: Self.settings(metrics), { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let receiver = try await session.openReceiver(from: "q", window: .messages(4))
            try sender.trySend(encoded: payload(10))
            await peer.advance(by: .seconds(2))
            look()
            try await peer.run { peer in
                pn_link_flow(peer.links[0], 5)
                for _ in 0..<2 { peer.send(payload(20), on: peer.links[1]) }
            }
            let (first, second) = (try await receiver.next(), try await receiver.next())
            first?.accept()
            await peer.settle()
            try await peer.loseConnection()
            second?.accept()
            await peer.settle()
        }
        look()
        // `ClientMetricsTests` covers the metrics of clients and consumers.
        let rows = try Article.observability.rows(under: "Metric").filter { row in
            !row[0].hasPrefix("amqp.client.") && !row[0].hasPrefix("amqp.consumer.")
        }
        #expect(Set(emitted.keys) == Set(rows.map { $0[0] }))
        for row in rows {
            #expect(emitted[row[0]]?.kind == row[1], "\(row)")
            let dimensions = row[2].split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            #expect(emitted[row[0]]?.dimensions == Set(dimensions), "\(row)")
        }
    }

    // MARK: Values

    @Test func sentMessagesAreCountedByOutcome() async throws {
        let metrics = TestMetrics()
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onMessage = { _, message in
                let states = [PN_ACCEPTED, PN_REJECTED, PN_RELEASED, PN_MODIFIED]
                let place = message.bytes.readableBytes - 1
                return .custom { delivery in
                    if place < 4 { pn_delivery_update(delivery, UInt64(states[place])) }
                    pn_delivery_settle(delivery)
                }
            }
            return script
        }
        try await withSession(configuration: Self.settings(metrics), script) { session, peer in
            var mixed = AMQPSender.Configuration(target: "q")
            mixed.settleMode = .mixed
            let sender = try await session.openSender(mixed)
            for size in 1...5 { try sender.trySend(encoded: payload(size)) }
            for _ in 0..<3 { try sender.trySend(encoded: payload(100), settled: true) }
            await peer.settle()
            await peer.advance(by: .seconds(1))
            #expect(
                self.outcomes(metrics) == ["accepted": 1, "rejected": 1, "released": 1, "modified": 1, "settled": 4]
            )
            #expect(self.total(metrics, .messagesSent, [("address", "q")]) == 8)
            #expect(self.total(metrics, .bytesSent, [("address", "q")]) == 1 + 2 + 3 + 4 + 5 + 300)
            #expect(try metrics.expectTimer("amqp.outcome_time", [("address", "q")]).values.count == 5)
            try sender.trySend(encoded: payload(1))
            await peer.settle()
            // Counts since the last interval are written when the link ends.
            _ = try await begin { await sender.close() }.value
            #expect(self.outcomes(metrics)["accepted"] == 2)
            #expect(self.total(metrics, .linksOpened, [("role", "sender")]) == 1)
            #expect(self.total(metrics, .linksEnded, [("role", "sender"), ("condition", "none")]) == 1)
        }
    }

    /// The time runs from the start of sending, not from acceptance. Chosen tags and formats do not change that.
    @Test(arguments: [false, true])
    func theTimeToAnOutcomeIsRecorded(isChosen: Bool) async throws {
        let metrics = TestMetrics()
        try await withSession(configuration: Self.settings(metrics), { Self.undecided(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for number in UInt8(0)..<3 {
                let options = AMQPSendOptions(deliveryTag: [9 - number], messageFormat: 3)
                try sender.trySend(encoded: payload(10), options: isChosen ? options : .init())
            }
            await peer.settle()
            await peer.advance(by: .seconds(5))
            try await peer.run { pn_link_flow($0.links[0], 2) }
            await peer.advance(by: .seconds(2))
            // The later message is settled first.
            try await peer.run { peer in
                let delivery = peer.unsettled.removeLast()
                pn_delivery_update(delivery, UInt64(PN_ACCEPTED))
                pn_delivery_settle(delivery)
            }
            await peer.settle()
            let timer = try metrics.expectTimer("amqp.outcome_time", [("address", "q")])
            #expect(timer.values == [2_000_000_000])
            await peer.advance(by: .seconds(1))
            try await peer.run { $0.settleAll(PN_RELEASED) }
            await peer.settle()
            #expect(timer.values == [2_000_000_000, 3_000_000_000])
        }
        #expect(self.outcomes(metrics) == ["accepted": 1, "released": 1, "not_sent": 1])
    }

    @Test func receivedMessagesAreCountedByDecision() async throws {
        let metrics = TestMetrics()
        try await withSession(configuration: Self.settings(metrics)) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(100))
            configuration.streamsMessages = true
            let receiver = try await session.openReceiver(configuration)
            try await peer.run { peer in
                for size in 1...6 { peer.send(payload(size), on: peer.links[0]) }
                peer.send(payload(7), on: peer.links[0], settled: true)
            }
            var held: [AMQPDelivery] = []
            for _ in 0..<7 { held.append(try #require(try await receiver.next())) }
            held[0].accept()
            held[1].accept()
            held[2].release()
            held[3].reject(nil)
            held[4].modify(AMQPModified(deliveryFailed: true))
            await peer.advance(by: .seconds(1))
            let address = [("address", "q")]
            #expect(self.total(metrics, .messagesReceived, address) == 7)
            #expect(self.total(metrics, .bytesReceived, address) == 28)
            let expected: [(String, Int64)] = [("accepted", 2), ("released", 1), ("rejected", 1), ("modified", 1)]
            for (outcome, count) in expected {
                #expect(self.total(metrics, .settlements, address + [("outcome", outcome)]) == count, "\(outcome)")
            }
            #expect(self.total(metrics, .settlementsLost) == 0)
            try await peer.run { peer in
                pn_condition_set_name(pn_link_condition(peer.links[0]), "amqp:not-found")
                pn_link_close(peer.links[0])
            }
            await peer.settle()
            let ended = [("role", "receiver"), ("condition", "amqp:not-found")]
            #expect(self.total(metrics, .linksEnded, ended) == 1)
            held[5].accept()
            await peer.settle()
            #expect(self.total(metrics, .settlementsLost, address) == 1)
            #expect(self.total(metrics, .settlements) == 5)
        }
    }

    @Test func messagesWithoutAnOutcomeAreCountedByFate() async throws {
        let metrics = TestMetrics()
        let script = { @Sendable () -> PeerScript in
            var script = Self.undecided(credit: 0)
            script.credit = nil
            return script
        }
        try await withSession(configuration: Self.settings(metrics), script) { session, peer in
            var small = AMQPSender.Configuration(target: "q")
            small.sendLimit = .init(high: 100)
            small.overflow = .dropNewest
            let sender = try await session.openSender(small)
            for _ in 0..<4 { _ = try await sender.enqueue(encoded: payload(40)) }
            await peer.settle()
            try await peer.run { pn_link_flow($0.links[0], 1) }
            await peer.settle()
            // One message has left, one waits, and two found no room. The unfinished stream is aborted.
            let other = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[1], 1) }
            let fed = FedBody()
            let stream = begin { try await other.stream(body: fed) }
            fed.feed(payload(30_000))
            try await eventually("it has begun to arrive") { try await peer.run { !$0.partial.isEmpty } }
            fed.end(FedBody.Broken())
            await #expect(throws: FedBody.Broken.self) { try await stream.value }
            await peer.settle()
        }
        #expect(self.outcomes(metrics) == ["in_doubt": 1, "not_sent": 1, "dropped": 2, "aborted": 1])
    }

    @Test func connectionsAndTheirErrorsAreCounted() async throws {
        let metrics = TestMetrics()
        let configuration = Self.settings(metrics)
        for name in ["", "amqp:connection:forced", "x:made-up"] {
            try await withPeer(configuration: configuration) { _, peer in
                let open = try metrics.expectGauge("amqp.connections")
                #expect(open.lastValue == 1)
                try await peer.run { peer in
                    if !name.isEmpty { pn_condition_set_name(pn_connection_condition(peer.connection), name) }
                    pn_connection_close(peer.connection)
                }
                await peer.settle()
                #expect(open.lastValue == 0)
            }
        }
        try await withPeer(configuration: configuration) { _, peer in try await peer.loseConnection() }
        #expect(self.total(metrics, .connectionsOpened) == 4)
        #expect(self.total(metrics, .connectionErrors) == 3)
        for condition in ["amqp:connection:forced", "other", "local:connection-lost"] {
            #expect(self.total(metrics, .connectionErrors, [("condition", condition)]) == 1, "\(condition)")
        }
        #expect(metrics.recorders.isEmpty)
    }

    @Test func aFailedConnectIsCountedAsAnError() async throws {
        let metrics = TestMetrics()
        var configuration = Self.settings(metrics)
        configuration.connectTimeout = .seconds(5)
        let refused = configuration
        await expectError(.connectFailed) {
            try await AMQPConnection.connect(host: "127.0.0.1", port: 1, configuration: refused)
        }
        #expect(self.total(metrics, .connectionErrors, [("condition", "local:connect-failed")]) == 1)
    }

    @Test func bytesInFlightAreReported() async throws {
        let metrics = TestMetrics()
        try await withSession(configuration: Self.settings(metrics)) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            try sender.trySend(encoded: payload(300))
            await peer.advance(by: .seconds(1))
            let socket = try await peer.run { $0.handler.unwrittenBytes }
            #expect(socket > 300)
            #expect(try metrics.expectGauge("amqp.connection.outgoing_bytes").lastValue == 300)
            #expect(try metrics.expectGauge("amqp.connection.socket_bytes").lastValue == Double(socket))
            #expect(self.total(metrics, .bytesSent) == 0)
            try await peer.run { $0.toPeer.allowance = nil }
            await peer.advance(by: .seconds(1))
            #expect(try metrics.expectGauge("amqp.connection.socket_bytes").lastValue == 0)
            #expect(self.total(metrics, .bytesSent) == 300)
        }
    }

    // MARK: The sum rule

    /// Every accepted message is counted once, wherever the connection is cut.
    @Test(arguments: [0, 60, 500, 2_000, 5_000, 20_000, 1_000_000], [true, false])
    func theOutcomesAddUpUnderACut(bytes: Int, isLost: Bool) async throws {
        let metrics = TestMetrics()
        var accepted = 0
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: 20)
            script.onMessage = { _, message in message.bytes.readableBytes % 3 == 0 ? .none : .accept }
            return script
        }
        try await withSession(configuration: Self.settings(metrics), script) { session, peer in
            var senders: [AMQPSender] = []
            for mode in [AMQPSenderSettleMode.unsettled, .settled, .mixed] {
                var configuration = AMQPSender.Configuration(target: "q")
                configuration.settleMode = mode
                if mode == .mixed {
                    configuration.sendLimit = .init(high: 2_000)
                    configuration.overflow = .dropNewest
                }
                senders.append(try await session.openSender(configuration))
            }
            try await peer.run { $0.toPeer.allowance = bytes }
            for round in 0..<3 {
                for (place, sender) in senders.enumerated() {
                    for number in 0..<40 {
                        let isSettled = place == 2 ? number.isMultiple(of: 2) : nil
                        _ = try await sender.enqueue(encoded: payload(50 + number), settled: isSettled)
                        accepted += 1
                    }
                }
                await peer.advance(by: .milliseconds(400))
                // One link ends before the others.
                if round == 1 {
                    let first = senders.removeFirst()
                    begin { await first.detach() }
                }
            }
            // Messages still in the outbox count too.
            for sender in senders { _ = try await sender.enqueue(encoded: payload(9)) }
            accepted += senders.count
            if isLost { try await peer.loseConnection() }
        }
        let outcomes = self.outcomes(metrics)
        #expect(outcomes.values.reduce(0, +) == Int64(accepted), "\(outcomes)")
        if bytes == 1_000_000 { #expect(outcomes["accepted", default: 0] > 0 && outcomes["settled", default: 0] > 0) }
        let written = self.total(metrics, .messagesSent)
        let gotThrough = outcomes["accepted", default: 0] + outcomes["settled", default: 0]
        // A cut leaves the last write incomplete, and the peer may have received part of it.
        #expect(written <= gotThrough + outcomes["in_doubt", default: 0], "\(written) \(outcomes)")
        if bytes == 1_000_000 { #expect(written >= gotThrough, "\(written) \(outcomes)") }
    }

    // MARK: Dimensions

    @Test func linksWithGeneratedNamesShareOneSeries() async throws {
        let metrics = TestMetrics()
        try await withSession(configuration: Self.settings(metrics)) { session, peer in
            var links: [any AMQPLink] = []
            for _ in 0..<500 {
                links.append(try await session.openSender(to: "q"))
                links.append(try await session.openReceiver(from: "q", window: .messages(3)))
            }
            await peer.advance(by: .seconds(1), steps: 1)
            for name in ["amqp.link.bytes", "amqp.link.messages", "amqp.link.credit", "amqp.link.unsettled"] {
                #expect(metrics.recorders(label: name).count == 2)
            }
            let link = [("address", "q"), ("role", "sender")]
            #expect(try metrics.expectGauge("amqp.link.credit", link).lastValue == 500 * 100)
            let receiving = [("address", "q"), ("role", "receiver")]
            #expect(try metrics.expectGauge("amqp.link.credit", receiving).lastValue == 500 * 3)
            #expect(self.total(metrics, .linksOpened, [("role", "sender")]) == 500)
            withExtendedLifetime(links) {}
        }
        let dimensions = metrics.counters.flatMap(\.dimensions).map(\.1)
        #expect(!dimensions.contains { $0.hasPrefix("link-") })
    }

    @Test func addressesAreBounded() async throws {
        let metrics = TestMetrics()
        var configuration = Self.settings(metrics)
        configuration.metrics?.addressLimit = 3
        configuration.metrics?.address = { $0.hasPrefix("tmp.") ? "tmp" : $0 }
        try await withSession(configuration: configuration) { session, peer in
            let names = ["tmp.1", "tmp.2", "a", String(repeating: "x", count: 257), "b", "c", "d", "a"]
            for name in names { _ = try await session.openSender(to: name) }
            _ = try await session.openSender(to: nil)
            let receiver = try await session.openReceiver(.init(source: .dynamic))
            await peer.advance(by: .seconds(1), steps: 1)
            let credits = metrics.recorders(label: "amqp.link.credit")
            let addresses = credits.map { $0.dimensions.first { $0.0 == "address" }?.1 ?? "" }
            #expect(addresses.sorted() == ["a", "b", "dynamic", "none", "other", "tmp"])
            let other = [("address", "other"), ("role", "sender")]
            #expect(try metrics.expectGauge("amqp.link.credit", other).lastValue == 300)
            withExtendedLifetime(receiver) {}
            #expect(
                try metrics.expectGauge("amqp.link.credit", [("address", "a"), ("role", "sender")]).lastValue == 200
            )
        }
    }

    @Test func gaugesEndWithTheLastLinkOfTheirAddress() async throws {
        let metrics = TestMetrics()
        try await withSession(configuration: Self.settings(metrics), { Self.undecided() }) { session, peer in
            let sender = try await session.openSender(to: "q")
            _ = try await session.openSender(to: "other-queue")
            try sender.trySend(encoded: payload(10))
            await peer.advance(by: .seconds(1))
            let gauge = try metrics.expectGauge("amqp.link.unsettled", [("address", "q"), ("role", "sender")])
            #expect(gauge.lastValue == 1)
            _ = try await begin { await sender.close() }.value
            await peer.advance(by: .seconds(1))
            #expect(gauge.lastValue == 0)
            #expect(metrics.recorders(label: "amqp.link.unsettled").count == 1)
            // The gauge returns with a new link, and the counters continue.
            let again = try await session.openSender(to: "q")
            try again.trySend(encoded: payload(10))
            await peer.advance(by: .seconds(1))
            let next = try metrics.expectGauge("amqp.link.unsettled", [("address", "q"), ("role", "sender")])
            #expect(next.lastValue == 1)
            #expect(self.total(metrics, .messagesSent, [("address", "q")]) == 2)
        }
        #expect(metrics.recorders.isEmpty)
    }

    @Test func connectionsShareTheirGauges() async throws {
        let metrics = TestMetrics()
        let configuration = Self.settings(metrics)
        let key = [("address", "q"), ("role", "sender")]
        try await withSession(configuration: configuration) { first, firstPeer in
            _ = try await first.openSender(to: "q")
            await firstPeer.advance(by: .seconds(1))
            try await withSession(configuration: configuration) { second, secondPeer in
                _ = try await second.openSender(to: "q")
                await secondPeer.advance(by: .seconds(1))
                #expect(try metrics.expectGauge("amqp.link.credit", key).lastValue == 200)
                #expect(try metrics.expectGauge("amqp.connections").lastValue == 2)
            }
            #expect(try metrics.expectGauge("amqp.link.credit", key).lastValue == 100)
            #expect(try metrics.expectGauge("amqp.connections").lastValue == 1)
        }
        #expect(metrics.recorders.isEmpty)
    }

    // MARK: Settings

    @Test func settingsThatCannotBeUsedAreRefused() async {
        func expectRefusal(_ text: String, _ change: (inout AMQPMetrics) -> Void) async {
            var metrics = AMQPMetrics()
            change(&metrics)
            var configuration = AMQPConnection.Configuration()
            configuration.metrics = metrics
            let refused = configuration
            let error = await expectError(.invalidArgument) { try refused.validate() }
            #expect(error?.detail.hasPrefix(text) == true, "\(error as Any)")
        }
        await expectRefusal("metrics.interval is") { $0.interval = .microseconds(999) }
        await expectRefusal("metrics.interval is") { $0.interval = .zero }
        await expectRefusal("metrics.interval is") { $0.interval = .seconds(Int64.max) }
        await expectRefusal("metrics.shortestBlock is") { $0.shortestBlock = .nanoseconds(-1) }
        await expectRefusal("metrics.addressLimit is 0") { $0.addressLimit = 0 }
    }

    @Test func aSendLimitMustNotBeUpsideDown() async throws {
        var limit = AMQPSendLimit(high: 100)
        limit.low = 101
        let text = "sendLimit.low is 101 B: it must be at most sendLimit.high (100 B)"
        var configuration = AMQPConnection.Configuration()
        configuration.sendLimit = limit
        let refused = configuration
        #expect(await expectError(.invalidArgument) { try refused.validate() }?.detail == text)
        try await withPeer { connection, _ in
            let error = await expectError(.invalidArgument) {
                try await connection.openSession(.init(sendLimit: limit))
            }
            #expect(error?.detail == text)
            let session = try await connection.openSession()
            var sender = AMQPSender.Configuration(target: "q")
            sender.sendLimit = limit
            let wrong = sender
            #expect(await expectError(.invalidArgument) { try await session.openSender(wrong) }?.detail == text)
        }
    }
}

/// The send times of messages, in a bounded ring.
struct SendTimesTests {
    @Test func timesAreRemovedInAnyOrder() {
        var times = SendTimes()
        for number in 5..<9 { times.begin(number, at: Int64(number * 10)) }
        times.begin(12, at: 120)
        #expect(times.end(7) == 70)
        #expect(times.end(7) == nil)
        #expect(times.end(5) == 50)
        #expect(times.end(12) == 120)
        #expect(times.end(10) == nil)
        #expect(times.end(4) == nil && times.end(13) == nil)
        #expect(times.end(6) == 60 && times.end(8) == 80)
        #expect(times.count == 0)
    }

    @Test func theOldestAreForgotten() {
        var times = SendTimes()
        for number in 1...(SendTimes.limit + 10) { times.begin(number, at: Int64(number)) }
        #expect(times.count == SendTimes.limit)
        #expect(times.end(10) == nil)
        #expect(times.end(11) == 11)
        times.begin(1_000_000_000, at: 1)
        #expect(times.count == 1 && times.end(1_000_000_000) == 1)
    }
}
