// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Receiving: credit, drains and settlement.
@Suite(.deadline)
struct ReceivingCreditRows {
    /// Sends messages on the peer's end of the library's first link.
    private func send(_ peer: InMemoryPeer, _ messages: [ByteBuffer], settled: Bool = false) async throws {
        try await peer.run { peer in
            for message in messages { peer.send(message, on: peer.links[0], settled: settled) }
        }
    }

    /// Grants below one have no effect, and no flow carries more than 2³¹ − 1.
    @Test("Credit is clamped", .tags(.p4))
    func p4_creditIsClamped() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .manual)
            try await self.send(peer, (0..<5).map { payload($0) })
            #expect(receiver.bufferedMessages == 0)
            receiver.grant(credit: 2)
            receiver.grant(credit: 0)
            receiver.grant(credit: -7)
            await peer.settle()
            #expect(receiver.bufferedMessages == 2)
            receiver.grant(credit: .max)
            receiver.grant(credit: .max)
            await peer.settle()
            #expect(receiver.bufferedMessages == 5)
            #expect(receiver.error == nil)
            #expect(session.connection.error == nil)
            // No frame carries more than the largest credit that fits into a signed integer.
            let credits = try await peer.framesOfLibrary().filter { $0.code == .flow }.map { $0.field(6) }
            for case .uint(let credit) in credits { #expect(credit <= UInt32(Int32.max)) }
        }
    }

    /// A message without credit detaches only its own link, with the right condition.
    @Test("A message without credit detaches its link", .tags(.p21))
    func p21_overSendDetachesThatLink() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "a", window: .messages(2))
            let other = try await session.openReceiver(from: "b", window: .messages(2))
            try await peer.run { peer in
                for id in UInt32(0)..<3 {
                    try peer.inject(.transfer(handle: 0, id: id, tag: [UInt8(id)], payload: payload(5)))
                }
            }
            #expect(receiver.error?.condition == .linkTransferLimitExceeded)
            let detach = try await peer.framesOfLibrary().last { $0.code == .detach }
            #expect(detach?.field(0) == .uint(0))
            #expect(detach?.field(2).description.contains("amqp:link:transfer-limit-exceeded") == true)
            #expect(other.error == nil)
            try await peer.run { peer in
                try peer.inject(.transfer(handle: 1, id: 3, tag: [9], payload: payload(6)))
            }
            #expect(try await other.next()?.payload == payload(6))
            #expect(session.connection.error == nil)
        }
    }

    /// A message that races the drain is delivered, and credit resumes after the drain, which is not sticky.
    @Test("A drain is never ambiguous", .tags(.p10))
    func p10_aDrainIsNeverAmbiguous() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(!waiting.isDone)
            #expect(try await peer.run { pn_link_get_drain($0.links[0]) })
            // The message was in flight before the peer received the drain.
            try await peer.run { peer in
                peer.send(payload(4), on: peer.links[0])
                peer.turn()
                pn_link_drained(peer.links[0])
            }
            #expect(try await waiting.value?.payload == payload(4))
            // Credit resumes after the drain.
            try await peer.run { peer in
                for size in 5...8 { peer.send(payload(size), on: peer.links[0]) }
            }
            for size in 5...8 { #expect(try await receiver.next()?.payload == payload(size)) }
        }
    }

    /// Places that become free during a drain are granted after its answer, because an earlier grant would cancel the
    /// drain.
    @Test("No credit before the drain's answer", .tags(.p45))
    func p45_noCreditBeforeTheAnswer() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            try await self.send(peer, (0..<4).map { payload($0) })
            var held: [AMQPDelivery] = []
            for _ in 0..<4 { held.append(try #require(try await receiver.next())) }
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(try await peer.run { pn_link_get_drain($0.links[0]) })
            for delivery in held { delivery.accept() }
            await peer.settle()
            #expect(try await peer.run { pn_link_get_drain($0.links[0]) && pn_link_credit($0.links[0]) == 1 })
            try await peer.run { _ = pn_link_drained($0.links[0]) }
            #expect(try await waiting.value == nil)
            #expect(try await peer.run { !pn_link_get_drain($0.links[0]) && pn_link_credit($0.links[0]) == 5 })
        }
    }

    /// Credit that the application grants during a drain is withheld until the answer.
    @Test("Manual credit waits for the drain's answer", .tags(.p45))
    func p45_manualCreditWaitsForTheAnswer() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .manual)
            receiver.grant(credit: 2)
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            receiver.grant(credit: 3)
            await peer.settle()
            #expect(try await peer.run { pn_link_get_drain($0.links[0]) && pn_link_credit($0.links[0]) == 2 })
            try await peer.run { _ = pn_link_drained($0.links[0]) }
            #expect(try await waiting.value == nil)
            #expect(try await peer.run { !pn_link_get_drain($0.links[0]) && pn_link_credit($0.links[0]) == 3 })
        }
    }

    /// Outstanding credit, queued messages and unsettled messages of the application share the window.
    @Test("Messages in the application hold their place", .tags(.p55))
    func p55_messagesInTheApplicationHoldTheirPlace() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(4))
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 4)
            try await self.send(peer, (0..<4).map { payload($0) })
            var deliveries: [AMQPDelivery] = []
            for _ in 0..<4 { deliveries.append(try #require(try await receiver.next())) }
            await peer.settle()
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 0)
            deliveries[0].accept()
            await peer.settle()
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 1)
            deliveries[2].reject()
            await peer.settle()
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 2)
            #expect(receiver.credit == 2)
        }
    }

    /// Decisions in any order are sorted, so that simultaneous ones are sent as ranges.
    @Test("Settlements form ranges", .tags(.p57, .p59))
    func p57_settlementsFormRanges() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(2_000))
            try await self.send(peer, (0..<1_000).map { _ in payload(1) })
            var deliveries: [AMQPDelivery] = []
            while deliveries.count < 1_000 { deliveries += try await receiver.nextBatch(max: 300) }
            let before = try await peer.run { $0.toPeer.record.readableBytes }
            let order = deliveries
            // The test blocks the loop, so that all settlements reach it in one batch.
            try await peer.run { _ in
                for index in stride(from: 0, to: 1_000, by: 2) { order[index].accept() }
                for index in stride(from: 999, to: 0, by: -2) { order[index].accept() }
            }
            await peer.settle()
            let after = try await peer.run { $0.toPeer.record.readableBytes }
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 0)
            // The library sends one range, and possibly a flow.
            #expect(after - before < 200)
        }
    }
}
