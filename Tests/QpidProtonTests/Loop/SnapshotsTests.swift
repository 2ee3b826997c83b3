// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The figures of a connection, its sessions and links agree with each other.
@Suite(.deadline)
struct SnapshotsTests {
    @Test func theBytesOfASenderAreThoseOfItsSessionAndConnection() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for size in [10, 20, 0] { try sender.trySend(encoded: payload(size)) }
            await peer.settle()
            let connection = try await session.connection.snapshot()
            let own = try #require(connection.sessions.first)
            let link = try #require(own.links.first)
            #expect(connection.sessions.count == 1 && own.links.count == 1)
            // An empty message counts too.
            #expect([link.bytes.used, own.outgoing.used, connection.outgoing.used] == [31, 31, 31])
            #expect(link.name == sender.name && link.address == "q" && link.isSender)
            #expect(link.messages == 3 && link.credit == 0 && link.unsettled == 0 && link.blockedBy == .credit)
            #expect(connection.socket.used == 0 && !connection.isReadingWithheld && connection.sendBudget == nil)
            #expect(own.protonOutgoingBytes == 0 && own.incoming.used == 0)
        }
    }

    @Test func aSettlementIsOwedFromTheWriteOn() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<3 { try sender.trySend(encoded: payload(10)) }
            await peer.settle()
            let link = try await sender.snapshot()
            #expect(link.unsettled == 3 && link.messages == 0 && link.bytes.used == 0 && link.bytes.peak >= 10)
            #expect(link.blockedBy == nil && link.blockedFor == .zero)
            #expect(try await session.snapshot().nextOutgoingID == 3)
        }
    }

    @Test func theSnapshotOfAReceiverCountsTheMessagesInItsInbox() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            try await peer.run { peer in for _ in 0..<3 { peer.send(payload(100), on: peer.links[0]) } }
            let full = try await receiver.snapshot()
            #expect(!full.isSender && full.address == "q" && full.messages == 3 && full.bytes.used == 300)
            let deliveries = (0..<3).compactMap { _ in receiver.poll() }
            let taken = try await receiver.snapshot()
            #expect(taken.messages == 0 && taken.bytes.used == 0 && taken.bytes.peak == 300 && taken.unsettled == 3)
            for delivery in deliveries { delivery.accept() }
            await peer.advance(by: .seconds(1))
            #expect(try await receiver.snapshot().unsettled == 0)
        }
    }

    /// The figures of an ended link stay at their last values.
    @Test func anEndedLinkIsNoLongerListed() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            #expect(try await session.snapshot().links.map(\.name) == [sender.name])
            try await sender.close().check()
            #expect(try await session.snapshot().links.isEmpty)
            #expect(try await sender.snapshot().name == sender.name)
        }
    }
}
