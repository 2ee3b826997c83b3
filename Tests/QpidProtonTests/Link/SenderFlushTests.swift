// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// Closing after the accepted messages were sent: the close ends by its deadline, and returns the unfinished messages.
@Suite(.deadline)
struct SenderFlushTests {
    private static let undecided = { @Sendable () -> PeerScript in
        var script = PeerScript(credit: nil)
        script.onMessage = { _, _ in .none }
        return script
    }

    @Test func aFlushEndsWhenAllIsSettled() async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfers = try (1...5).map { try sender.trySend(encoded: payload($0)) }
            let close = begin { await sender.close(within: .seconds(60)) }
            await peer.settle()
            await expectError(.closed) { try await sender.enqueue(encoded: payload(1)) }
            await expectError(.closed) { try sender.trySend(encoded: payload(1)) }
            try await peer.run { pn_link_flow($0.links[0], 3) }
            #expect(try await peer.run { $0.received.count } == 3)
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            await peer.settle()
            #expect(!close.isDone)
            try await peer.run { pn_link_flow($0.links[0], 10) }
            await peer.settle()
            #expect(!close.isDone)
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            let rest = try await close.value
            #expect(rest.isComplete)
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func theLimitEndsAFlush() async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfers = try (1...5).map { try sender.trySend(encoded: payload($0)) }
            try await peer.run { pn_link_flow($0.links[0], 2) }
            let close = begin { await sender.close(within: .seconds(5)) }
            await peer.settle()
            await peer.advance(by: .seconds(4))
            #expect(!close.isDone)
            await peer.advance(by: .seconds(2))
            let rest = try await close.value
            #expect(rest.error == nil)
            let link = try #require(rest.unfinished.first)
            #expect(link.linkName == sender.name)
            #expect(link.address == "q")
            #expect("\(rest)" == "3 messages not sent, 2 messages in doubt")
            #expect(link.inDoubt == Array(transfers[..<2]))
            #expect(rest.unsent.map(\.payload) == (3...5).map { payload($0) })
            #expect(rest.unsent.map(\.tracker) == Array(transfers[2...]))
            for (index, transfer) in transfers.enumerated() {
                let error = await expectError(.closed) { try await transfer.outcome() }
                #expect(error?.fate == (index < 2 ? .inDoubt : .notSent))
            }
            #expect(session.outgoingBytes == 0)
            // The unsent messages can leave unchanged on another link.
            try await peer.run { $0.script.credit = 10 }
            let other = try await session.openSender(to: "other")
            try await peer.run { pn_link_flow($0.links[1], 10) }
            for unsent in rest.unsent { try await other.enqueue(encoded: unsent.payload) }
            try await eventually("the messages") { try await peer.run { $0.received.count } == 5 }
        }
    }

    @Test func noFlushReturnsAtOnce() async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfer = try sender.trySend(encoded: payload(9))
            let rest = await sender.close()
            #expect(rest.unsent.map(\.tracker) == [transfer])
            // A later close of the same link returns the same result.
            #expect(await sender.close(within: .seconds(9)).unsent.map(\.tracker) == [transfer])
            let empty = try await session.openSender(to: "q")
            #expect(await empty.close(within: .seconds(9)).isComplete)
        }
    }

    @Test func aMessageInItsMiddleIsUnsent() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: 10)
            script.maxFrameSize = 512
            script.sessionCapacity = 2_048
            script.takesMessages = false
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfer = try sender.trySend(encoded: payload(100_000))
            await peer.settle()
            let close = begin { await sender.close(within: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            let rest = try await close.value
            #expect(rest.inDoubt == 0)
            #expect(rest.unsent.map(\.payload) == [payload(100_000)])
            #expect(rest.unsent.map(\.tracker) == [transfer])
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func aCancelledTaskEndsTheFlush() async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            _ = try sender.trySend(encoded: payload(9))
            let close = begin { await sender.close(within: .seconds(3_600)) }
            await peer.settle()
            close.cancel()
            #expect(try await close.value.unsent.map(\.payload) == [payload(9)])
        }
    }

    @Test func aPeerThatEndsTheLinkEndsTheFlush() async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            _ = try sender.trySend(encoded: payload(9))
            let close = begin { await sender.close(within: .seconds(3_600)) }
            await peer.settle()
            try await peer.run { pn_link_close($0.links[0]) }
            #expect(try await close.value.unsent.map(\.payload) == [payload(9)])
        }
    }

    @Test func aLostConnectionEndsTheFlush() async throws {
        try await withPeer(Self.undecided) { connection, peer in
            let session = try await connection.openSession()
            let senders = [try await session.openSender(to: "a"), try await session.openSender(to: "b")]
            for sender in senders { _ = try sender.trySend(encoded: payload(9)) }
            let close = begin { await connection.close(within: .seconds(3_600)) }
            await peer.settle()
            try await peer.loseConnection()
            let rest = try await close.value
            #expect(rest.error?.ending == .lost)
            #expect(Set(rest.unfinished.map(\.address)) == ["a", "b"])
            #expect(rest.unfinished.allSatisfy { $0.notSent.map(\.payload) == [payload(9)] })
        }
    }

    @Test func aSessionFlushesItsSendersTogether() async throws {
        try await withPeer(Self.undecided) { connection, peer in
            let session = try await connection.openSession()
            let senders = [try await session.openSender(to: "a"), try await session.openSender(to: "b")]
            _ = try await session.openReceiver(from: "c")
            for sender in senders { _ = try sender.trySend(encoded: payload(9)) }
            try await peer.run { pn_link_flow($0.links[0], 1) }
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            let close = begin { await session.close(within: .seconds(5)) }
            await peer.settle()
            await peer.advance(by: .seconds(6))
            let rest = try await close.value
            #expect(rest.unfinished.map(\.address) == ["b"])
            #expect(session.error != nil)
            #expect(await connection.close(within: .seconds(5)).isComplete)
        }
    }
}
