// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// `receive(timeout:)`, whose result is never ambiguous.
@Suite(.deadline)
struct ReceiverDrainTests {
    static let slow: AMQPConnection.Configuration = {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        configuration.operationTimeout = .seconds(5)
        return configuration
    }()

    /// Returns a peer that leaves a drain unanswered.
    @Sendable static func silent() -> PeerScript {
        var script = PeerScript()
        script.answersDrain = false
        return script
    }

    @Test(arguments: [AMQPReceiver.Window.manual, .messages(1), .messages(100)])
    func receiveReturnsNilIfThePeerHasNoMessage(window: AMQPReceiver.Window) async throws {
        try await withSession(configuration: Self.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: window)
            for _ in 0..<3 {
                let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
                await peer.settle()
                #expect(!waiting.isDone)
                await peer.advance(by: .seconds(2))
                #expect(try await waiting.value == nil)
            }
            // The credit is granted again, and messages arrive.
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            try await peer.run { _ = $0.send(payload(4), on: $0.links[0]) }
            #expect(try await waiting.value?.payload == payload(4))
        }
    }

    @Test func anAvailableMessageArrivesAtOnce() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await peer.run { _ = $0.send(payload(4), on: $0.links[0]) }
            #expect(try await receiver.receive(timeout: .zero)?.payload == payload(4))
        }
    }

    @Test func aDrainThatIsNeverAnsweredFails() async throws {
        try await withSession(configuration: Self.slow, Self.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(!waiting.isDone)
            await peer.advance(by: .seconds(6))
            await expectError(.timeout) { try await waiting.value }
            #expect(receiver.error == nil)
            // The link still works.
            try await peer.run { _ = $0.send(payload(4), on: $0.links[0]) }
            #expect(try await receiver.next()?.payload == payload(4))
        }
    }

    /// The answer arrives after the wait has timed out. The credit that it returns must be granted again.
    @Test func aLateAnswerToADrainLeavesTheLinkInCredit() async throws {
        try await withSession(configuration: Self.slow, Self.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(8))
            await expectError(.timeout) { try await waiting.value }
            try await peer.run { pn_link_drained($0.links[0]) }
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 5)
            try await peer.run { _ = $0.send(payload(4), on: $0.links[0]) }
            #expect(receiver.bufferedMessages == 1)
        }
    }

    /// A message that has begun to arrive is in flight, so the result must not be `nil`.
    @Test(arguments: [AMQPReceiver.Window.manual, .messages(1), .messages(3)])
    func aMessageThatHasBegunIsWaitedFor(window: AMQPReceiver.Window) async throws {
        try await withSession(configuration: Self.slow, Self.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: window)
            receiver.grant(credit: window == .manual ? 1 : 0)
            await peer.settle()
            try await peer.run { _ = $0.send(payload(200_000), on: $0.links[0], isLast: false) }
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(!waiting.isDone)
            try await peer.run { peer in
                peer.send(payload(7), on: peer.links[0])
                peer.turn()
                pn_link_drained(peer.links[0])
            }
            #expect(try await waiting.value?.payload.readableBytes == 200_007)
        }
    }

    @Test func theLinkEndsWhileAReceiveWaits() async throws {
        try await withSession(configuration: Self.slow, Self.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            try await receiver.close().check()
            #expect(try await waiting.value == nil)
            let lost = try await session.openReceiver(from: "q")
            let other = begin { try await lost.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            try await peer.loseConnection()
            await expectError(.connectionLost) { try await other.value }
        }
    }

    @Test func cancellingAReceiveThatDrains() async throws {
        try await withSession(configuration: Self.slow, Self.silent) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            waiting.cancel()
            await expectError(.cancelled) { try await waiting.value }
            try await peer.run { pn_link_drained($0.links[0]) }
            try await peer.run { _ = $0.send(payload(4), on: $0.links[0]) }
            #expect(try await receiver.next()?.payload == payload(4))
        }
    }

    @Test func manyReceivesWithTimeoutsAtOnce() async throws {
        try await withSession(configuration: Self.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            let waiting = (0..<20).map { index in
                begin { try await receiver.receive(timeout: .milliseconds(500 + 10 * index)) }
            }
            await peer.settle()
            try await peer.run { peer in
                for size in 1...5 { peer.send(payload(size), on: peer.links[0]) }
            }
            await peer.advance(by: .seconds(2))
            var sizes: [Int] = []
            for wait in waiting {
                if let delivery = try await wait.value { sizes.append(delivery.payload.readableBytes) }
            }
            #expect(sizes.sorted() == [1, 2, 3, 4, 5])
        }
    }
}
