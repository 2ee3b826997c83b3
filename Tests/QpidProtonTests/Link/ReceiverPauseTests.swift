// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Pause, resume and drain share one handshake, whose answer proves that nothing is in flight.
@Suite(.deadline)
struct ReceiverPauseTests {
    private func send(_ peer: InMemoryPeer, _ sizes: ClosedRange<Int>) async throws {
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0]) }
        }
    }

    private static func credit(_ peer: InMemoryPeer) async throws -> Int {
        Int(try await peer.run { pn_link_credit($0.links[0]) })
    }

    @Test(arguments: [AMQPReceiver.Window.messages(5), .bytes(.kibibytes(64)), .unbounded])
    func noMessageArrivesWhilePaused(window: AMQPReceiver.Window) async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: window)
            #expect(!receiver.isPaused)
            try await receiver.pause()
            #expect(receiver.isPaused && receiver.credit == 0)
            #expect(try await Self.credit(peer) == 0)
            try await receiver.pause()
            try await self.send(peer, 1...3)
            #expect(receiver.bufferedMessages == 0)
            let waiting = begin { try await receiver.next()?.payload.readableBytes }
            await peer.settle()
            #expect(!waiting.isDone)
            #expect(try await Self.credit(peer) == -3)
            receiver.resume()
            #expect(try await waiting.value == 1)
            #expect(!receiver.isPaused)
            for size in 2...3 { #expect(try await receiver.next()?.payload.readableBytes == size) }
            receiver.resume()
            try await self.send(peer, 4...4)
            #expect(try await receiver.next()?.payload.readableBytes == 4)
        }
    }

    @Test func noCreditIsSeenWithTheAnswer() async throws {
        try await withSession { session, _ in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            let seen = Reply<Int>()
            let reply = Reply<Int>()
            reply.whenResolved { _ in seen.resolve(.success(receiver.credit)) }
            receiver.outbox.post(.receiver(receiver.core.status, .pause(reply)))
            #expect(try await seen.value() == 0)
        }
    }

    /// Messages in flight arrive before the answer. Credit for settled messages is granted only after the resume.
    @Test func messagesOnTheirWayArriveBeforeTheAnswer() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(4))
            let pausing = begin { try await receiver.pause() }
            await peer.settle()
            #expect(!pausing.isDone)
            try await self.send(peer, 1...2)
            try #require(receiver.poll()).accept()
            try #require(receiver.poll()).accept()
            await peer.settle()
            #expect(!pausing.isDone)
            try await peer.run { _ = pn_link_drained($0.links[0]) }
            try await pausing.value
            #expect(try await Self.credit(peer) == 0)
            let flows = try await peer.count(.flow)
            await peer.advance(by: .seconds(20))
            #expect(try await peer.count(.flow) == flows)
            receiver.resume()
            await peer.settle()
            #expect(try await Self.credit(peer) == 4)
        }
    }

    /// A peer that has used all its credit has none to return, and need not answer.
    @Test func theLastCreditIsAnAnswer() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(2))
            let pausing = begin { try await receiver.pause() }
            let draining = begin { try await receiver.drain(timeout: .seconds(3)) }
            await peer.settle()
            try await peer.run { _ = $0.send(payload(1), on: $0.links[0]) }
            try await peer.run { _ = $0.send(payload(100_000), on: $0.links[0], isLast: false) }
            #expect(!pausing.isDone && !draining.isDone)
            try await peer.run { _ = $0.send(payload(5), on: $0.links[0]) }
            try await pausing.value
            #expect(try await draining.value == 0)
            #expect(receiver.bufferedMessages == 2)
        }
    }

    @Test func anUnansweredPauseStaysInEffect() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(4))
            let pausing = begin { try await receiver.pause() }
            await peer.settle()
            await peer.advance(by: .seconds(6))
            await expectError(.timeout) { try await pausing.value }
            #expect(receiver.isPaused)
            // The peer may still use its credit.
            try await self.send(peer, 1...1)
            #expect(receiver.bufferedMessages == 1)
            try await peer.run { _ = pn_link_drained($0.links[0]) }
            #expect(receiver.credit == 0)
            #expect(try await Self.credit(peer) == 0)
            try await receiver.pause()
            receiver.resume()
            await peer.settle()
            #expect(receiver.credit == 3)
        }
    }

    @Test func aCancelledPauseStaysInEffect() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(4))
            let pausing = begin { try await receiver.pause() }
            await peer.settle()
            pausing.cancel()
            await expectError(.cancelled) { try await pausing.value }
            try await peer.run { _ = pn_link_drained($0.links[0]) }
            #expect(receiver.isPaused)
            #expect(try await Self.credit(peer) == 0)
            // The receiver resumes in the middle of a handshake. Credit follows after the answer.
            receiver.resume()
            await peer.settle()
            let again = begin { try await receiver.pause() }
            await peer.settle()
            receiver.resume()
            await peer.settle()
            #expect(try await peer.run { pn_link_get_drain($0.links[0]) })
            try await peer.run { _ = pn_link_drained($0.links[0]) }
            try await again.value
            #expect(try await Self.credit(peer) == 4)
        }
    }

    @Test func manualCreditIsWithheldUntilTheResume() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .manual)
            receiver.grant(credit: 2)
            try await receiver.pause()
            receiver.grant(credit: 3)
            receiver.grant(credit: 4)
            await peer.settle()
            #expect(try await Self.credit(peer) == 0)
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(try await waiting.value == nil)
            receiver.resume()
            await peer.settle()
            #expect(try await Self.credit(peer) == 7)
            #expect(try await receiver.drain(timeout: .seconds(1)) == 7)
            #expect(try await receiver.drain(timeout: .seconds(1)) == 0)
            // The receiver grants credit for a wait that began during the pause.
            try await receiver.pause()
            let late = begin { try await receiver.receive(timeout: .seconds(5))?.payload.readableBytes }
            await peer.settle()
            #expect(try await Self.credit(peer) == 0)
            receiver.resume()
            await peer.settle()
            try await self.send(peer, 8...8)
            #expect(try await late.value == 8)
        }
    }

    @Test func anOnDemandWindowIsPausedToo() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .onDemand)
            let waiting = begin { try await receiver.next()?.payload.readableBytes }
            await peer.settle()
            #expect(receiver.credit == 1)
            try await receiver.pause()
            #expect(receiver.credit == 0)
            try await self.send(peer, 1...2)
            #expect(!waiting.isDone)
            let other = begin { try await receiver.next()?.payload.readableBytes }
            await peer.settle()
            receiver.resume()
            #expect(try await waiting.value == 1)
            #expect(try await other.value == 2)
            #expect(receiver.bufferedMessages == 0)
        }
    }

    @Test func drainReturnsTheUnusedCredit() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            let first = begin { try await receiver.drain(timeout: .seconds(1)) }
            let second = begin { try await receiver.drain(timeout: .seconds(4)) }
            let receiving = begin { try await receiver.receive(timeout: .seconds(2)) }
            await peer.settle()
            await peer.advance(by: .seconds(3))
            // The first call times out, and the others continue with the same handshake.
            await expectError(.timeout) { try await first.value }
            #expect(!second.isDone && !receiving.isDone)
            try await peer.run { peer in
                peer.send(payload(1), on: peer.links[0])
                peer.send(payload(2), on: peer.links[0])
                peer.turn()
                pn_link_drained(peer.links[0])
            }
            #expect(try await second.value == 8)
            #expect(try await receiving.value?.payload == payload(1))
            #expect(try await Self.credit(peer) == 8)
        }
    }

    @Test func theEndOfTheLinkEndsThePause() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, ReceiverDrainTests.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            let pausing = begin { try await receiver.pause() }
            await peer.settle()
            try await receiver.close().check()
            await expectError(.closed) { try await pausing.value }
            await expectError(.closed) { try await receiver.pause() }
            receiver.resume()
            let lost = try await session.openReceiver(from: "q")
            let draining = begin { try await lost.drain(timeout: .seconds(1)) }
            await peer.settle()
            try await peer.loseConnection()
            await expectError(.connectionLost) { try await draining.value }
            await expectError(.connectionLost) { try await lost.drain(timeout: .seconds(1)) }
        }
    }
}
