// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// The reasons why `trySend` has no room: the full limit, and the cause for which its bytes wait.
@Suite(.deadline)
struct SenderBlockTests {
    private let session = AMQPSession.Configuration(sendLimit: .init(high: 1_000))

    private func blocked(_ sender: AMQPSender, _ bytes: Int = 1_000) async -> [AMQPBlockCause] {
        await expectError(.wouldBlock) { try sender.trySend(encoded: payload(bytes)) }?.blockedBy ?? []
    }

    @Test func thePeerGrantsNoCredit() async throws {
        try await withSession(session: self.session, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try sender.trySend(encoded: payload(900))
            await peer.settle()
            let error = await expectError(.wouldBlock) { try sender.trySend(encoded: payload(200)) }
            #expect(error?.blockedBy == [.sessionLimit, .credit])
            #expect(
                error?.detail
                    == "the session's send limit of 1000 B is full: 900 bytes wait because the peer granted no credit; the message has 200 bytes"
            )
        }
    }

    @Test func theSocketIsFull() async throws {
        try await withSession(session: self.session) { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.sendLimit = .init(high: 500)
            let sender = try await session.openSender(configuration)
            try await peer.run { $0.toPeer.allowance = 0 }
            try sender.trySend(encoded: payload(500))
            await peer.settle()
            #expect(await self.blocked(sender) == [.linkLimit, .socket])
            // After the credit is used, the cause is still the socket, because all bytes have left the queue.
            try await peer.run { $0.toPeer.allowance = nil }
            try sender.trySend(encoded: payload(500))
            await peer.settle()
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func theLastCreditIsUsedAndTheSocketIsFull() async throws {
        let limit = AMQPSession.Configuration(sendLimit: .init(high: 1_000, low: 1_000))
        try await withSession(session: limit, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[0], 1) }
            try await peer.run { $0.toPeer.allowance = 0 }
            try sender.trySend(encoded: payload(950))
            await peer.settle()
            #expect(await self.blocked(sender) == [.sessionLimit, .socket])
            try sender.trySend(encoded: payload(50))
            await peer.settle()
            #expect(await self.blocked(sender) == [.sessionLimit, .credit])
        }
    }

    @Test func thePeersWindowIsClosed() async throws {
        let limit = AMQPSession.Configuration(sendLimit: .init(high: 20_000))
        try await withSession(session: limit, { .closingItsWindow }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<10 { try sender.trySend(encoded: payload(2_000)) }
            await peer.settle()
            #expect(await self.blocked(sender, 20_000) == [.sessionLimit, .remoteWindow])
        }
    }

    /// A sender behind another link's backlog reports the cause that blocks that link.
    @Test func anotherLinkFillsTheSession() async throws {
        try await withSession(session: self.session, { PeerScript(credit: nil) }) { session, peer in
            let stuck = try await session.openSender(to: "stuck")
            let other = try await session.openSender(to: "other")
            try await peer.run { pn_link_flow($0.links[1], 10) }
            try stuck.trySend(encoded: payload(900))
            await peer.settle()
            #expect(await self.blocked(other) == [.sessionLimit, .credit])
            let waiting = begin { try await other.enqueue(encoded: payload(500)) }
            await peer.settle()
            // The message would have to wait behind another one.
            await expectError(.wouldBlock) { try other.trySend(encoded: payload(1)) }
            #expect(await self.blocked(other) == [.sessionLimit, .credit])
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(try await waiting.value.outcome() == .accepted)
        }
    }

    @Test func theConnectionHasALimit() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.sendLimit = .init(high: 1_500, low: 500)
        try await withSession(configuration: configuration, session: self.session, { PeerScript(credit: nil) }) {
            session,
            peer in
            let sender = try await session.openSender(to: "q")
            let second = try await session.connection.openSession(self.session)
            let other = try await second.openSender(to: "q")
            try sender.trySend(encoded: payload(1_000))
            try other.trySend(encoded: payload(500))
            await peer.settle()
            let error = await expectError(.wouldBlock) { try other.trySend(encoded: payload(1)) }
            #expect(error?.blockedBy == [.connectionLimit, .credit])
            #expect(session.connection.outgoingBytes == 1_500)
            let waiting = begin { try await other.enqueue(encoded: payload(100)) }
            await peer.settle()
            #expect(!waiting.isDone)
            try await peer.run { pn_link_flow($0.links[0], 1) }
            _ = try await waiting.value
            #expect(session.connection.outgoingBytes == 600)
            #expect(session.connection.outgoingBytesPeak == 1_500)
        }
    }

    /// P1: Proton's counter omits bytes that wait for credit or for the socket.
    @Test func protonsCounterMisleads() async throws {
        try await withSession(session: .init(sendLimit: .init(high: .mebibytes(8)))) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            let transfer = try sender.trySend(encoded: payload(1_000_000))
            await peer.settle()
            #expect(session.outgoingBytes > 0)
            #expect(try await session.snapshot().protonOutgoingBytes.bytes < session.outgoingBytes.bytes)
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await transfer.outcome() == .accepted)
            #expect(try await session.snapshot().protonOutgoingBytes == 0)
        }
    }
}
