// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Sending: credit, windows, drains and closes.
@Suite(.deadline)
struct SendingCreditRows {
    /// The session advertises its outgoing window, by default too, and never 0.
    @Test("The session advertises its outgoing window", .tags(.p35))
    func p35_theSessionAdvertisesItsOutgoingWindow() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 1_000
        var session = AMQPSession.Configuration(incomingCapacity: 10_000)
        session.outgoingWindow = 77
        try await withSession(configuration: configuration, session: session) { _, peer in
            let begin = try #require(try await peer.framesOfLibrary().first { $0.code == .begin })
            #expect(begin.field(2) == .uint(10))
            #expect(begin.field(3) == .uint(77))
        }
        try await withPeer { connection, peer in
            for window in [0, UInt32.max] {
                session.outgoingWindow = window
                let refused = session
                await expectError(.invalidArgument) { try await connection.openSession(refused) }
            }
            #expect(try await peer.count(.begin) == 0)
            _ = try await connection.openSession()
            #expect(try await peer.framesOfLibrary().last?.field(3) == .uint(2_048))
        }
    }

    /// Messages without credit wait in Swift, and leave as far as the credit reaches.
    @Test("Messages wait for credit", .tags(.p40))
    func p40_messagesWaitForCredit() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfers = try (0..<5).map { try sender.trySend(encoded: payload(10 + $0)) }
            await peer.settle()
            #expect(try await peer.count(.transfer) == 0)
            try await peer.run { pn_link_flow($0.links[0], 2) }
            #expect(try await peer.run { $0.received.map(\.bytes.readableBytes) } == [10, 11])
            #expect(sender.credit == 0)
            #expect(transfers.map { $0.result != nil } == [true, true, false, false, false])
            try await peer.run { pn_link_flow($0.links[0], 10) }
            #expect(try await peer.run { $0.received.map(\.bytes.readableBytes) } == [10, 11, 12, 13, 14])
            #expect(sender.credit == 7)
            #expect(sender.deliveryLimit == 12)
        }
    }

    /// No message enters Proton without credit, or while the window is closed.
    @Test("Nothing enters Proton that cannot leave", .tags(.p40))
    func p40_nothingEntersProtonThatCannotLeave() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<1_000 { try sender.trySend(encoded: payload(100)) }
            await peer.settle()
            func unsettled() async throws -> Int { try await peer.run { $0.unsettledOfLibrary } }
            #expect(try await unsettled() == 0)
            #expect(try await peer.run { $0.heldBytes } == 0)
            // One flow grants credit for all messages and closes the session's window.
            try await peer.run { try $0.inject(.linkFlow(nextIncomingID: 0, window: 0, credit: 1_000)) }
            #expect(sender.credit == 1_000)
            #expect(try await unsettled() == 0)
            try await peer.run { try $0.inject(.linkFlow(nextIncomingID: 0, window: 7, credit: 1_000)) }
            #expect(try await peer.count(.transfer) == 7)
            #expect(try await peer.run { $0.heldBytes } == 0)
            #expect(session.outgoingBytes == 99_300)
        }
    }

    /// A message enqueued in the turn in which a flow shrinks the window is not sent.
    @Test("A window that shrinks is closed at once", .tags(.p40))
    func p40_aWindowThatShrinksIsClosedAtOnce() async throws {
        try await withSession({ PeerScript(credit: 1_000) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<10 { _ = try await sender.enqueue(encoded: payload(10)).outcome() }
            try await peer.run { peer in
                try sender.trySend(encoded: payload(10))
                try peer.inject(.sessionFlow(nextIncomingID: 1, window: 2))
            }
            await peer.settle()
            #expect(try await peer.count(.transfer) == 10)
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 10, window: 2)) }
            await peer.settle()
            #expect(try await peer.count(.transfer) == 11)
        }
    }

    /// Credit is never used twice, and revoked credit strands no message.
    @Test("Revoked credit strands no message", .tags(.p17, .p4))
    func p17_revokedCreditStrandsNoMessage() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            func grant(_ count: UInt32, _ credit: UInt32) async throws {
                try await peer.run {
                    try $0.inject(.linkFlow(nextIncomingID: count, window: 1_000, deliveryCount: count, credit: credit))
                }
            }
            try await grant(0, 3)
            try await peer.run { $0.toPeer.allowance = 0 }
            // A message of several frames has begun when its credit is revoked.
            let transfers = try [10, 10, 400_000, 10, 10, 10].map { try sender.trySend(encoded: payload($0)) }
            await peer.settle()
            try await grant(0, 0)
            #expect(sender.credit == 0)
            #expect(try await peer.run { $0.unsettledOfLibrary } == 3)
            try await peer.run { $0.toPeer.allowance = nil }
            let sizes = try await peer.run { $0.received.map(\.bytes.readableBytes) }
            #expect(sizes == [10, 10, 400_000])
            // Proton has received no message without credit.
            #expect(try await peer.run { $0.unsettledOfLibrary } == 0)
            try await grant(3, 2)
            #expect(try await peer.run { $0.lowestCreditOfLibrary } == 0)
            #expect(try await peer.run { $0.received.count } == 5)
            #expect(transfers.count { $0.result != nil } == 5)
            try await grant(5, 1)
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(session.outgoingBytes == 0)
        }
    }

    /// A close does not wait for queued messages without credit. The library reports the fate of each queued message
    /// once.
    @Test("Closing returns unsent messages", .tags(.p8))
    func p8_closingReturnsUnsentMessages() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: nil)
            script.onMessage = { _, _ in .none }
            return script
        }
        let session = AMQPSession.Configuration(sendLimit: .init(high: 80))
        try await withSession(session: session, script) { session, peer in
            let sender = try await session.openSender(to: "q")
            let answers = SenderEndingTests.Answers()
            try await peer.run { pn_link_flow($0.links[0], 3) }
            let sent = try (0..<3).map { _ in try sender.trySend(encoded: payload(10)) }
            await peer.settle()
            let queued = try (0..<5).map { _ in try sender.trySend(encoded: payload(16)) }
            await peer.settle()
            answers.watch(sent + queued)
            let waiting = begin { try await sender.enqueue(encoded: payload(16)) }
            try await sender.close().check()
            #expect(answers.count == 8)
            for index in 0..<3 { #expect(answers.error(index)?.fate == .inDoubt) }
            for index in 3..<8 { #expect(answers.error(index)?.fate == .notSent) }
            let error = await expectError(.closed) { try await waiting.value }
            #expect(error?.fate == .notSent)
            #expect(session.outgoingBytes == 0)
            let refused = await expectError(.closed) { try await sender.enqueue(encoded: payload(1)) }
            #expect(refused?.fate == .notSent)
            await expectError(.closed) { try sender.trySend(encoded: payload(1)) }
            // The rest of the session continues.
            let other = try await session.openSender(to: "other")
            try await peer.run {
                $0.script.onMessage = { _, _ in .accept }
                pn_link_flow($0.links[1], 1)
            }
            #expect(try await other.send(AMQPMessage(body: "x")) == .accepted)
        }
    }

    /// The end of the session or of the connection does not wait either, and drops nothing silently.
    @Test("Ending reports unsent messages", .tags(.p8), arguments: [false, true])
    func p8_endingReportsUnsentMessages(isOfConnection: Bool) async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfers = try (0..<5).map { _ in try sender.trySend(encoded: payload(16)) }
            await peer.settle()
            let closing = begin {
                if isOfConnection {
                    try await session.connection.close().check()
                } else {
                    try await session.close().check()
                }
            }
            try await closing.value
            for transfer in transfers {
                let error = await expectError(.closed) { try await transfer.outcome() }
                #expect(error?.fate == .notSent)
            }
            #expect(session.outgoingBytes == 0)
            #expect(try await peer.count(.transfer) == 0)
        }
    }

    /// A message that is aborted in its middle leaves both sides with the same credit count.
    @Test("An aborted message keeps the credit right", .tags(.p32))
    func p32_anAbortedMessageKeepsTheCreditRight() async throws {
        try await withSession({ PeerScript(credit: 10) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 80_000 }
            let large = try sender.trySend(encoded: payload(500_000))
            await peer.settle()
            try await peer.run { peer in
                let delivery = pn_link_current(peer.links[0])
                pn_delivery_update(delivery, UInt64(PN_REJECTED))
            }
            #expect(try await large.outcome() == .rejected(nil))
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(session.outgoingBytes == 0)
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true])
            for _ in 0..<30 { #expect(try await sender.enqueue(encoded: payload(9)).outcome() == .accepted) }
        }
    }

    /// A drain that arrives in the middle of a message is answered after the message, so that both sides count alike.
    @Test("A drain is answered between messages", .tags(.p10))
    func p10c_aDrainIsAnsweredBetweenMessages() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run {
                pn_link_flow($0.links[0], 3)
                $0.toPeer.allowance = 0
            }
            let transfer = try sender.trySend(encoded: payload(600_000))
            await peer.settle()
            try await peer.run { pn_link_drain($0.links[0], 0) }
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await transfer.outcome() == .accepted)
            #expect(try await peer.run { $0.received[0].bytes.readableBytes } == 600_000)
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 0)
            #expect(try await peer.run { pn_link_drained($0.links[0]) } == 2)
            // Both sides still count alike.
            let next = try sender.trySend(encoded: payload(7))
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(try await next.outcome() == .accepted)
        }
    }
}

extension InMemoryPeer {
    private var senders: [SenderEndpoint] {
        self.handler.sessions.values.flatMap(\.links.values).compactMap { $0 as? SenderEndpoint }
    }

    /// The deliveries that Proton holds on the library's senders.
    var unsettledOfLibrary: Int { self.senders.reduce(0) { $0 + $1.link.unsettledCount } }

    /// The lowest credit that Proton has on the library's senders.
    var lowestCreditOfLibrary: Int { self.senders.map { Int(Int32(bitPattern: $0.link.credit)) }.min() ?? 0 }
}
