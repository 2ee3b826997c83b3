// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// The immediate result of a settling call, and the final result of the settlement.
@Suite(.deadline)
struct SettlementResultTests {
    private func open(
        _ session: AMQPSession,
        _ peer: InMemoryPeer,
        _ mode: AMQPReceiverSettleMode = .first,
        count: Int = 5
    ) async throws -> (AMQPReceiver, [AMQPDelivery]) {
        var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(100))
        configuration.settleMode = mode
        let receiver = try await session.openReceiver(configuration)
        try await peer.run { peer in
            for size in 1...count { peer.send(payload(size), on: peer.links[0]) }
        }
        var held: [AMQPDelivery] = []
        while held.count < count { held.append(try #require(try await receiver.next())) }
        return (receiver, held)
    }

    /// A peer that settles when the test requests it.
    private static let settlingNothing = { @Sendable () -> PeerScript in
        var script = PeerScript()
        script.onUpdate = { peer, delivery in peer.unsettled.append(delivery) }
        return script
    }

    @Test func aDecisionIsQueuedAndThenWritten() async throws {
        try await withSession { session, peer in
            let (receiver, held) = try await self.open(session, peer)
            // One task waits before the decision, one after it, and one long after the write.
            let early = begin { try await held[0].settled() }
            await peer.settle()
            #expect(held.acceptAll() == .queued && held[1].accept() == .queued)
            #expect(try await held[1].settled() == .settled)
            #expect(try await early.value == .settled)
            await peer.settle()
            for delivery in held { #expect(try await delivery.settled() == .settled) }
            withExtendedLifetime(receiver) {}
        }
    }

    @Test(arguments: [0, 1, 2, 3]) func eachWayOfSettlingHasAResult(way: Int) async throws {
        try await withSession { session, peer in
            let (receiver, held) = try await self.open(session, peer, count: 1)
            switch way {
            case 0: #expect(held[0].accept(includingEarlier: true) == .queued)
            case 1: #expect(held[0].reject(AMQPError(condition: .invalidField)) == .queued)
            case 2: #expect(held[0].release() == .queued)
            default: #expect(held[0].modify(AMQPModified(deliveryFailed: true)) == .queued)
            }
            #expect(try await held[0].settled() == .settled)
            withExtendedLifetime(receiver) {}
        }
    }

    @Test(arguments: LinkEnd.allCases) func afterTheEndADecisionIsStale(end: LinkEnd) async throws {
        try await withSession { session, peer in
            let (receiver, held) = try await self.open(session, peer)
            let waiting = begin { try await held[4].settled() }
            #expect(held[0].accept() == .queued)
            #expect(try await held[0].settled() == .settled)
            try await end.run(receiver, peer)
            #expect(held[1].accept() == .stale && held[2].release() == .stale && [held[3]].acceptAll() == .stale)
            for delivery in held[1...3] {
                guard case .notWritten(let error) = try await delivery.settled() else {
                    Issue.record("\(end)")
                    continue
                }
                if let condition = end.condition { #expect(error.condition == condition) }
            }
            guard case .notWritten = try await waiting.value else {
                Issue.record("\(end)")
                return
            }
            // A written decision stays settled.
            #expect(try await held[0].settled() == .settled)
        }
    }

    /// The socket has not accepted the write that carries the decision.
    @Test func aDecisionOnItsWayIsInDoubt() async throws {
        try await withSession { session, peer in
            let (receiver, held) = try await self.open(session, peer, count: 2)
            try await peer.run { $0.toPeer.allowance = 0 }
            #expect(held.acceptAll() == .queued)
            let waiting = begin { try await held[0].settled() }
            await peer.settle()
            await peer.advance(by: .milliseconds(100))
            #expect(try await peer.run { $0.handler.unwrittenBytes } > 0)
            try await peer.loseConnection()
            await peer.settle()
            guard case .inDoubt(let error) = try await waiting.value else {
                Issue.record("not in doubt")
                return
            }
            #expect(error.condition == .connectionLost)
            guard case .inDoubt = try await held[1].settled() else {
                Issue.record("not in doubt")
                return
            }
            #expect(receiver.unsentSettlements == 2)
        }
    }

    /// In mode second the final state is the sender's: here it reports a lost lock.
    @Test func theFinalStateOfTheSender() async throws {
        try await withSession(Self.settlingNothing) { session, peer in
            let (receiver, held) = try await self.open(session, peer, .second, count: 3)
            #expect(held.acceptAll() == .queued)
            let waits = held.map { delivery in begin { try await delivery.settled() } }
            await peer.settle()
            try await peer.run { peer in
                let deliveries = peer.unsettled
                guard deliveries.count == 3 else {
                    Issue.record("\(deliveries.count) decisions")
                    return
                }
                pn_delivery_update(deliveries[0], UInt64(PN_ACCEPTED))
                pn_condition_set_name(pn_disposition_condition(pn_delivery_local(deliveries[1])), "x:lock-lost")
                pn_delivery_update(deliveries[1], UInt64(PN_REJECTED))
                for delivery in deliveries.prefix(2) { pn_delivery_settle(delivery) }
            }
            await peer.settle()
            #expect(try await waits[0].value == .settledBySender(.accepted))
            guard case .settledBySender(.rejected(let error?)) = try await waits[1].value else {
                Issue.record("no rejection")
                return
            }
            #expect(error.condition == "x:lock-lost")
            // The third delivery is decided, and the sender sends nothing more about it.
            try await LinkEnd.detachWithError.run(receiver, peer)
            guard case .inDoubt(let cause) = try await waits[2].value else {
                Issue.record("not in doubt")
                return
            }
            #expect(cause.condition == "x:end")
            guard case .inDoubt = try await held[2].settled() else {
                Issue.record("not in doubt")
                return
            }
        }
    }

    @Test func aCancelledWaitEndsAlone() async throws {
        try await withSession { session, peer in
            let (receiver, held) = try await self.open(session, peer, count: 1)
            let waiting = begin { try await held[0].settled() }
            await peer.settle()
            waiting.cancel()
            await expectError(.cancelled) { try await waiting.value }
            #expect(held[0].accept() == .queued)
            #expect(try await held[0].settled() == .settled)
            withExtendedLifetime(receiver) {}
        }
    }

    @Test func aMessageThatTheSenderHadSettledIsSettled() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await peer.run { _ = $0.send(payload(1), on: $0.links[0], settled: true) }
            let delivery = try #require(try await receiver.next())
            #expect(delivery.accept() == .queued)
            #expect(try await delivery.settled() == .settled)
        }
    }
}
