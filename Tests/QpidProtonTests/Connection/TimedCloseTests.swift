// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Closes with a peer that no longer reads or answers: the limit covers the whole call.
@Suite(.deadline)
struct TimedCloseTests {
    private static let operationTimeout = Duration.seconds(30)
    private static let configuration: AMQPConnection.Configuration = {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        configuration.operationTimeout = operationTimeout
        return configuration
    }()

    /// A peer script that settles nothing and grants no credit by itself.
    private static let undecided = { @Sendable () -> PeerScript in
        var script = PeerScript.settlingNothing
        script.credit = nil
        return script
    }

    private static func freeze(_ peer: InMemoryPeer) async throws {
        try await peer.run { peer in
            peer.toPeer.allowance = 0
            peer.toLibrary.allowance = 0
        }
    }

    /// Expects that a call lasts until the limit, and ends there.
    private static func expectEnd<Value>(
        of call: Begun<Value>,
        after limit: TimeAmount,
        _ peer: InMemoryPeer,
        _ what: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        await peer.settle()
        await peer.advance(by: limit - .milliseconds(100), steps: 20)
        #expect(!call.isDone, "\(what) ended too early", sourceLocation: sourceLocation)
        await peer.advance(by: .milliseconds(200))
        try await eventually("the end of \(what)", sourceLocation: sourceLocation) { call.isDone }
    }

    enum Flushed: CaseIterable { case sender, session, connection }

    private static func begin(
        _ kind: Flushed,
        _ sender: AMQPSender,
        for limit: Duration
    ) -> Begun<AMQPCloseResult> {
        QpidProtonTests.begin {
            switch kind {
            case .sender: await sender.close(within: limit)
            case .session: await sender.session.close(within: limit)
            case .connection: await sender.session.connection.close(within: limit)
            }
        }
    }

    @Test(arguments: Flushed.allCases, [0, 3])
    func aFlushEndsAtItsLimit(kind: Flushed, credit: Int) async throws {
        try await withPeer(configuration: Self.configuration, Self.undecided) { connection, peer in
            let sender = try await connection.openSession().openSender(to: "q")
            for size in 1...5 { try sender.trySend(encoded: payload(size)) }
            try await peer.run { pn_link_flow($0.links[0], Int32(credit)) }
            try await Self.freeze(peer)
            let close = Self.begin(kind, sender, for: .seconds(10))
            try await Self.expectEnd(of: close, after: .seconds(10), peer)
            let rest = try await close.value
            #expect(rest.notSent == 5 - credit && rest.inDoubt == credit)
            #expect(rest.error?.condition == .timeout)
            #expect(sender.error?.condition == .closed)
            #expect(try await peer.run { $0.wire.isClosed } == (kind == .connection))
        }
    }

    /// Everything was settled long before the limit, but the peer does not answer the close.
    @Test(arguments: Flushed.allCases)
    func theMissingAnswerIsWithinTheLimit(kind: Flushed) async throws {
        try await withPeer(configuration: Self.configuration, { .notClosing }) { connection, peer in
            let sender = try await connection.openSession().openSender(to: "q")
            #expect(try await sender.send(AMQPMessage(body: "x")) == .accepted)
            let close = Self.begin(kind, sender, for: .seconds(10))
            try await Self.expectEnd(of: close, after: .seconds(10), peer)
            let result = try await close.value
            #expect(result.unfinished.isEmpty && result.error?.condition == .timeout)
        }
        // The close waits for the answer no longer than 30 s, even when its limit is longer.
        try await withPeer(configuration: Self.configuration, { .notClosing }) { connection, peer in
            let sender = try await connection.openSession().openSender(to: "q")
            let close = Self.begin(kind, sender, for: .seconds(3_600))
            try await Self.expectEnd(of: close, after: .seconds(30), peer)
        }
    }

    @Test(arguments: Flushed.allCases)
    func aCancelledFlushDoesNotWaitForTheAnswer(kind: Flushed) async throws {
        try await withPeer(configuration: Self.configuration, Self.undecided) { connection, peer in
            let sender = try await connection.openSession().openSender(to: "q")
            try sender.trySend(encoded: payload(5))
            try await Self.freeze(peer)
            let close = Self.begin(kind, sender, for: .seconds(10))
            await peer.settle()
            #expect(!close.isDone)
            close.cancel()
            await peer.settle()
            await peer.advance(by: .milliseconds(1))
            let result = try await close.value
            #expect(result.notSent == 1 && result.error?.condition == .cancelled)
        }
    }

    // MARK: Receivers

    private func take(_ receiver: AMQPReceiver, _ count: Int) async throws -> [AMQPDelivery] {
        var deliveries: [AMQPDelivery] = []
        while deliveries.count < count { deliveries.append(try #require(try await receiver.next())) }
        return deliveries
    }

    /// Deliveries that the peer has not confirmed may arrive again, so the close counts them.
    @Test(arguments: [AMQPReceiverSettleMode.first, .second], [0, 2])
    func settlingEndsAtItsLimitAndCountsDecisionsInDoubt(mode: AMQPReceiverSettleMode, held: Int) async throws {
        try await withSession(configuration: Self.configuration) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(20))
            configuration.settleMode = mode
            let receiver = try await session.openReceiver(configuration)
            try await peer.run { peer in for size in 1...8 { peer.send(payload(size), on: peer.links[0]) } }
            let deliveries = try await self.take(receiver, 6)
            try await Self.freeze(peer)
            for delivery in deliveries.dropFirst(held) { delivery.accept() }
            let close = QpidProtonTests.begin { await receiver.close(within: .seconds(10)) }
            try await Self.expectEnd(of: close, after: .seconds(10), peer)
            let result = try await close.value
            #expect(result.deliveriesNotSettled == held)
            #expect(result.settlementsNotWritten == 6 - held && result.settlementsInDoubt == 0)
        }
    }

    @Test func anAnswerOfThePeerConfirmsSettlements() async throws {
        try await withSession(configuration: Self.configuration) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(20))
            try await peer.run { peer in for size in 1...8 { peer.send(payload(size), on: peer.links[0]) } }
            let deliveries = try await self.take(receiver, 6)
            for delivery in deliveries.dropFirst(2) { delivery.accept() }
            let close = QpidProtonTests.begin { await receiver.close(within: .seconds(10)) }
            await peer.settle()
            await peer.advance(by: .seconds(10))
            let result = try await close.value
            #expect(result.error == nil && result.deliveriesNotSettled == 2 && result.left == 2)
        }
    }

    // MARK: Other calls

    @Test func everyCallHasOneLimit() async throws {
        try await withSession(configuration: Self.configuration) { session, peer in
            let sender = try await session.openSender(to: "q")
            let receivers = [
                try await session.openReceiver(from: "a"), try await session.openReceiver(from: "b"),
                try await session.openReceiver(from: "c"), try await session.openReceiver(from: "d"),
                try await session.openReceiver(from: "e"),
            ]
            let connection = session.connection
            try await Self.freeze(peer)
            var calls: [(what: String, limit: TimeAmount, call: Begun<Void>)] = []
            func add(
                _ what: String,
                _ limit: TimeAmount = .seconds(30),
                _ body: @escaping @Sendable () async throws -> Void
            ) {
                calls.append((what, limit, QpidProtonTests.begin(body)))
            }
            add("openSession") { _ = try await connection.openSession() }
            add("openSender") { _ = try await session.openSender(to: "r") }
            add("openReceiver") { _ = try await session.openReceiver(from: "r") }
            add("pause") { try await receivers[0].pause() }
            add("drain", .seconds(3)) { _ = try await receivers[1].drain(timeout: .seconds(3)) }
            add("receive", .seconds(34)) { _ = try await receivers[2].receive(timeout: .seconds(4)) }
            add("close") { try await receivers[3].close().check() }
            add("detach") { try await receivers[4].detach().check() }
            add("close") { try await sender.close().check() }
            await peer.settle()
            var now = TimeAmount.zero
            for (what, limit, call) in calls.sorted(by: { $0.limit < $1.limit }) {
                let before = limit - .milliseconds(100)
                if before > now {
                    await peer.advance(by: before - now)
                    now = before
                    #expect(!call.isDone, "\(what)")
                }
                if limit + .milliseconds(100) > now {
                    await peer.advance(by: .milliseconds(200))
                    now = limit + .milliseconds(100)
                }
                let error = await expectError(.timeout) { try await call.value }
                #expect(error?.origin == .local, "\(what)")
            }
            let ending = QpidProtonTests.begin { try await session.close().check() }
            try await Self.expectEnd(of: ending, after: .seconds(30), peer, "the session")
            await expectError(.timeout) { try await ending.value }
            let closing = QpidProtonTests.begin { try await connection.close().check() }
            try await Self.expectEnd(of: closing, after: .seconds(30), peer, "the connection")
            await expectError(.timeout) { try await closing.value }
            #expect(try await peer.run { $0.wire.isClosed })
        }
    }
}
