// SPDX-License-Identifier: Apache-2.0

import CProton
import CoreMetrics
import MetricsTestKit
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Each moment of a block counts for one cause.
struct BlockClockTests {
    @Test func causesExcludeEachOther() {
        var clock = BlockClock()
        #expect(clock.note(.credit, at: 10) == nil)
        #expect(clock.note(.credit, at: 15) == nil)
        let first = BlockClock.Ended(cause: .credit, duration: 20, wasAnnounced: false)
        #expect(clock.note(.remoteWindow, at: 30) == first)
        clock.isAnnounced = true
        let second = BlockClock.Ended(cause: .remoteWindow, duration: 5, wasAnnounced: true)
        #expect(clock.note(nil, at: 35) == second)
        #expect(clock.note(.credit, at: 100) == nil)
        #expect(clock.totals(at: 107) == [.credit: .nanoseconds(27), .remoteWindow: .nanoseconds(5)])
    }

    @Test func eachCauseIsCountedAlone() {
        var clock = BlockClock()
        var now: Int64 = 0
        var expected: [AMQPBlockCause: Duration] = [:]
        for (place, cause) in AMQPBlockCause.allCases.enumerated() {
            _ = clock.note(cause, at: now)
            now += 10 + Int64(place)
            expected[cause] = .nanoseconds(10 + place)
        }
        #expect(clock.totals(at: now) == expected)
    }
}

/// The flow state that a connection exposes.
@Suite(.deadline)
struct StallMonitorTests {
    private static let withoutCredit = { @Sendable in PeerScript(credit: nil) }

    @Test func aSnapshotShowsLimitsAndCauses() async throws {
        let limits = AMQPSession.Configuration(sendLimit: .init(high: 1_000))
        try await withSession(session: limits, Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "orders")
            try sender.trySend(encoded: payload(300))
            try sender.trySend(encoded: payload(200))
            await peer.settle()
            await peer.advance(by: .seconds(3))
            let snapshot = try await session.connection.snapshot()
            let link = try #require(snapshot.links.first)
            #expect(link.name == sender.name)
            #expect(link.address == "orders")
            #expect(link.isSender)
            #expect(link.bytes.used == 500)
            #expect(link.messages == 2)
            #expect(link.blockedBy == .credit)
            #expect(link.blockedFor == .seconds(3))
            #expect(link.blockedTimes == [.credit: .seconds(3)])
            #expect(snapshot.sessions[0].outgoing == AMQPFill(limit: 1_000, used: 500, peak: 500))
            #expect(snapshot.outgoing == AMQPFill(limit: nil, used: 500, peak: 500))
            #expect(snapshot.sessions[0].incoming.limit == .mebibytes(4))
            #expect(snapshot.sessions[0].remoteIncomingWindow > 0)
            #expect(try await session.snapshot().links.count == 1)
            try await peer.run { pn_link_flow($0.links[0], 10) }
            await peer.advance(by: .seconds(1))
            let after = try await sender.snapshot()
            #expect(after.blockedBy == nil)
            #expect(after.blockedFor == .zero)
            #expect(after.messages == 0)
            #expect(after.credit == 8)
            #expect(after.bytes == AMQPFill(limit: nil, used: 0, peak: 500))
        }
    }

    /// The times of all causes add up to the time in which the sender had messages but could not send them.
    @Test func theTimesOfTheCausesSumUp() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: nil)
            script.sessionCapacity = 131_072
            script.takesMessages = false
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            try sender.trySend(encoded: payload(400_000))
            await peer.settle()
            await peer.advance(by: .seconds(2))
            try await peer.run { pn_link_flow($0.links[0], 10) }
            // The peer's window holds two frames, and the peer does not read them.
            await peer.advance(by: .seconds(5))
            let snapshot = try await sender.snapshot()
            #expect(snapshot.blockedBy == .remoteWindow)
            #expect(snapshot.blockedTimes == [.credit: .seconds(2), .remoteWindow: .seconds(5)])
        }
    }

    @Test func longBlocksAreReported() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let all = session.connection.flowEvents(after: .milliseconds(100))
            let own = sender.flowEvents(after: .seconds(60))
            try sender.trySend(encoded: payload(1))
            await peer.settle()
            await peer.advance(by: .milliseconds(50))
            await peer.advance(by: .seconds(2), steps: 100)
            try await peer.run { pn_link_flow($0.links[0], 1) }
            await peer.settle()
            var events = all.makeAsyncIterator()
            let began = try #require(await events.next(isolation: nil))
            #expect(began.cause == .credit)
            #expect(began.linkName == sender.name)
            #expect(began.isSender)
            guard case .blocked(let time) = began.kind else { throw Unexpected(what: "\(began)") }
            #expect(time >= .milliseconds(100) && time <= .milliseconds(200))
            let ended = try #require(await events.next(isolation: nil))
            #expect(ended.kind == .unblocked(after: .milliseconds(2_050)))
            try await session.connection.close().check()
            #expect(await events.next(isolation: nil) == nil)
            var none = own.makeAsyncIterator()
            #expect(await none.next(isolation: nil) == nil)
        }
    }

    @Test func aReceiverReportsThatTheApplicationBlocksIt() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(2))
            try await peer.run { peer in
                for _ in 0..<2 { _ = peer.send(payload(10), on: peer.links[0]) }
            }
            let first = try #require(try await receiver.next())
            let second = try #require(try await receiver.next())
            await peer.settle()
            await peer.advance(by: .seconds(4))
            let snapshot = try await receiver.snapshot()
            #expect(snapshot.blockedBy == .application)
            #expect(snapshot.unsettled == 2)
            #expect(snapshot.blockedFor == .seconds(4))
            first.accept()
            second.accept()
            await peer.settle()
            #expect(try await receiver.snapshot().blockedBy == nil)
        }
    }

    @Test func aStalledLinkIsReportedOnce() async throws {
        let lines = LogLines()
        var configuration = AMQPConnection.Configuration()
        configuration.stallWarning = .seconds(10)
        configuration.idleTimeout = nil
        let peer = try await InMemoryPeer(
            configuration: configuration,
            script: PeerScript(credit: nil),
            logger: lines.logger
        )
        let parts = AMQPConnection.Parts(peer.handler, peer.channel)
        let connection = AMQPConnection(parts, try await parts.opened.value(), configuration)
        let session = try await connection.openSession()
        let sender = try await session.openSender(to: "q")
        await peer.advance(by: .seconds(30), steps: 30)
        #expect(lines.warnings.isEmpty, "a link that has nothing to send does not stall")
        try sender.trySend(encoded: payload(7))
        await peer.settle()
        await peer.advance(by: .seconds(9), steps: 9)
        #expect(lines.warnings.isEmpty)
        await peer.advance(by: .seconds(40), steps: 40)
        #expect(lines.warnings.count == 1)
        #expect(
            lines.warnings[0].description.contains(
                "\"amqp.detail\": the peer granted no credit; 1 message waits to be sent, 7 B"
            )
        )
        try await peer.run { pn_link_flow($0.links[0], 1) }
        try sender.trySend(encoded: payload(7))
        await peer.advance(by: .seconds(40), steps: 40)
        #expect(lines.warnings.count == 2)
        await peer.finish()
    }

    @Test func metricsReportTheSame() async throws {
        let metrics = TestMetrics()
        var configuration = AMQPConnection.Configuration()
        var settings = AMQPMetrics()
        settings.name = { "x." + $0 }
        settings.factory = metrics
        settings.dimensions = [("peer", "p")]
        configuration.metrics = settings
        try await withPeer(configuration: configuration, Self.withoutCredit) { connection, peer in
            let session = try await connection.openSession()
            let sender = try await session.openSender(to: "q")
            try sender.trySend(encoded: payload(42))
            await peer.settle()
            await peer.advance(by: .seconds(5), steps: 5)
            let link = [("peer", "p"), ("address", "q"), ("role", "sender")]
            #expect(try metrics.expectGauge("x.amqp.link.bytes", link).lastValue == 42)
            #expect(try metrics.expectGauge("x.amqp.link.messages", link).lastValue == 1)
            #expect(try metrics.expectGauge("x.amqp.connection.outgoing_bytes", [("peer", "p")]).lastValue == 42)
            let credit = link + [("cause", "credit")]
            let counted = try metrics.expectCounter("x.amqp.link.blocked_nanoseconds", credit).totalValue
            #expect(counted >= 3_000_000_000 && counted <= 5_000_000_000)
            try await peer.run { pn_link_flow($0.links[0], 1) }
            await peer.settle()
            #expect(try metrics.expectTimer("x.amqp.link.blocked", credit).lastValue == 5_000_000_000)
        }
    }
}
