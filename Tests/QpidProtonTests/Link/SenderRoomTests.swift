// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The send limit: the counted bytes, the release of room, and the order of waiting tasks.
@Suite(.deadline)
struct SenderRoomTests {
    @Test func theHighMarkSuspendsAndTheLowMarkResumes() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 1_000, low: 400))
        try await withSession(session: session, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<10 { try sender.trySend(encoded: payload(100)) }
            await expectError(.wouldBlock) { try sender.trySend(encoded: payload(1)) }
            let waiting = begin { try await sender.enqueue(encoded: payload(100)) }
            // 500 bytes are still above the low mark.
            try await peer.run { pn_link_flow($0.links[0], 5) }
            #expect(session.outgoingBytes == 500)
            await expectError(.wouldBlock) { try sender.trySend(encoded: payload(1)) }
            try await peer.run { pn_link_flow($0.links[0], 1) }
            _ = try await waiting.value
            #expect(session.outgoingBytes == 500)
            try sender.trySend(encoded: payload(500))
            try await peer.run { pn_link_flow($0.links[0], 100) }
            #expect(session.outgoingBytes == 0)
            #expect(session.outgoingBytesPeak == 1_000)
            #expect(try await peer.run { $0.received.count } == 12)
        }
    }

    @Test func anOversizedMessagePassesAlone() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 100))
        try await withSession(session: session) { session, peer in
            let sender = try await session.openSender(to: "q")
            #expect(try await sender.enqueue(encoded: payload(400_000)).outcome() == .accepted)
            try await peer.run { $0.toPeer.allowance = 0 }
            try sender.trySend(encoded: payload(1))
            let waiting = begin { try await sender.enqueue(encoded: payload(400_000)) }
            await peer.settle()
            #expect(session.outgoingBytes == 1)
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await waiting.value.outcome() == .accepted)
        }
    }

    @Test func aLinksOwnLimitStopsThatLinkAlone() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            var configuration = AMQPSender.Configuration(target: "slow")
            configuration.sendLimit = .init(high: 100)
            let slow = try await session.openSender(configuration)
            let fast = try await session.openSender(to: "fast")
            try await peer.run { pn_link_flow($0.links[1], 50) }
            try slow.trySend(encoded: payload(100))
            let waiting = begin { try await slow.enqueue(encoded: payload(100)) }
            for _ in 0..<50 { #expect(try await fast.enqueue(encoded: payload(5_000)).outcome() == .accepted) }
            #expect(slow.outgoingBytes == 100)
            try await peer.run { pn_link_flow($0.links[0], 2) }
            #expect(try await waiting.value.outcome() == .accepted)
        }
    }

    /// A message without room must not stop another link whose message has room.
    @Test func aRefusedLargeMessageDoesNotStallOtherLinks() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 1_000))
        try await withSession(session: session, { PeerScript(credit: nil) }) { session, peer in
            let stuck = try await session.openSender(to: "stuck")
            let other = try await session.openSender(to: "other")
            try await peer.run { pn_link_flow($0.links[1], 10) }
            try stuck.trySend(encoded: payload(10))
            await expectError(.wouldBlock) { try other.trySend(encoded: payload(1_000)) }
            await peer.settle()
            #expect(try await other.trySend(encoded: payload(10)).outcome() == .accepted)
        }
    }

    /// The sender admits a message that needs all the room in its turn, and then the messages behind it.
    @Test func aLargeMessageIsNotOvertakenForEver() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 1_000, low: 500))
        try await withSession(session: session, { PeerScript(credit: nil) }) { session, peer in
            let small = try await session.openSender(to: "small")
            let large = try await session.openSender(to: "large")
            try await peer.run { pn_link_flow($0.links[1], 10) }
            for _ in 0..<4 { try small.trySend(encoded: payload(100)) }
            let waiting = begin { try await large.enqueue(encoded: payload(2_000)) }
            let behind = (0..<20).map { _ in begin { try await small.enqueue(encoded: payload(100)) } }
            for _ in 0..<3 {
                try await peer.run { pn_link_flow($0.links[0], 1) }
                #expect(!waiting.isDone && behind.allSatisfy { !$0.isDone })
            }
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(try await waiting.value.outcome() == .accepted)
            try await peer.run { pn_link_flow($0.links[0], 20) }
            for task in behind { #expect(try await task.value.outcome() == .accepted) }
        }
    }

    /// Closing a link whose message waits for room resumes the messages behind it.
    @Test func closingAWaitingLinkLetsOthersContinue() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 1_000))
        try await withSession(session: session, { PeerScript(credit: nil) }) { session, peer in
            let stuck = try await session.openSender(to: "stuck")
            let large = try await session.openSender(to: "large")
            let small = try await session.openSender(to: "small")
            try await peer.run { pn_link_flow($0.links[2], 10) }
            try stuck.trySend(encoded: payload(10))
            let waiting = begin { try await large.enqueue(encoded: payload(1_000)) }
            let behind = begin { try await small.enqueue(encoded: payload(10)) }
            await peer.settle()
            try await large.close().check()
            await expectError(.closed) { try await waiting.value }
            #expect(try await behind.value.outcome() == .accepted)
        }
    }

    @Test func thePeersWindowBlocksOnlyItsOwnSession() async throws {
        try await withSession({ .closingItsWindow }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfers = try (0..<20).map { _ in try sender.trySend(encoded: payload(10_000)) }
            await peer.settle()
            #expect(try await peer.run { Int(pn_session_incoming_bytes($0.sessions[0])) } <= 4_096)
            let other = try await session.connection.openSession()
            let open = try await other.openSender(to: "open")
            let message = try open.trySend(encoded: payload(1_000))
            await peer.settle()
            try await peer.run { $0.receive($0.links[1]) }
            #expect(try await message.outcome() == .accepted)
            // Now the first session makes progress.
            try await peer.run {
                $0.script.takesMessages = true
                $0.receive($0.links[0])
            }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(try await peer.run { $0.received.dropFirst().allSatisfy { $0.bytes == payload(10_000) } })
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func closingALinkWhileThePeersWindowIsClosed() async throws {
        try await withSession({ .closingItsWindow }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfers = try (0..<20).map { _ in try sender.trySend(encoded: payload(10_000)) }
            await peer.settle()
            let closing = begin { try await sender.close().check() }
            try await closing.value
            for transfer in transfers { await expectError(.closed) { try await transfer.outcome() } }
            #expect(session.outgoingBytes == 0)
        }
    }

    /// A drain that arrives while the peer's window is closed is answered after the messages before it.
    @Test func aDrainWhileThePeersWindowIsClosed() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: nil, maxFrameSize: 1_024)
            script.sessionCapacity = 4_096
            script.takesMessages = false
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[0], 20) }
            let transfers = try (0..<10).map { _ in try sender.trySend(encoded: payload(1_500)) }
            await peer.settle()
            try await peer.run { pn_link_drain($0.links[0], 0) }
            try await peer.run {
                $0.script.takesMessages = true
                $0.receive($0.links[0])
            }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 0)
            #expect(try await peer.run { pn_link_drained($0.links[0]) } == 10)
            let next = try sender.trySend(encoded: payload(7))
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(try await next.outcome() == .accepted)
        }
    }
}
