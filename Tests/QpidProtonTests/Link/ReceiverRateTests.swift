// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// A receiver's rate limit: it grants credit according to its tokens.
@Suite(.deadline(minutes: 5))
struct ReceiverRateTests {
    private func open(
        _ session: AMQPSession,
        _ limit: AMQPRateLimit?,
        window: AMQPReceiver.Window = .messages(1_000)
    ) async throws -> AMQPReceiver {
        var configuration = AMQPReceiver.Configuration(source: "q", window: window)
        configuration.rateLimit = limit
        return try await session.openReceiver(configuration)
    }

    private func send(_ peer: InMemoryPeer, _ count: Int, _ size: Int) async throws {
        try await peer.run { peer in
            for _ in 0..<count { peer.send(payload(size), on: peer.links[0]) }
        }
    }

    /// Receives for a time. Returns the number of messages and the largest number that waited.
    private func receive(_ receiver: AMQPReceiver, _ peer: InMemoryPeer, seconds: Int) async -> (Int, Int) {
        var (count, most) = (0, 0)
        for _ in 0..<(seconds * 50) {
            await peer.advance(by: .milliseconds(20), steps: 4)
            most = max(most, receiver.bufferedMessages)
            while let delivery = receiver.poll() {
                delivery.accept()
                count += 1
            }
        }
        return (count, most)
    }

    @Test(arguments: [AMQPReceiver.Window.automatic, .messages(1_000), .unbounded])
    func messagesArriveAtTheRate(window: AMQPReceiver.Window) async throws {
        try await withSession(configuration: ReceiverDrainTests.slow) { session, peer in
            let receiver = try await self.open(session, .init(messagesPerSecond: 100), window: window)
            try await self.send(peer, 2_000, 10)
            let (first, most) = await self.receive(receiver, peer, seconds: 4)
            #expect((395...415).contains(first))
            #expect(most <= 12)
            try receiver.setRateLimit(.init(messagesPerSecond: 300))
            let (second, _) = await self.receive(receiver, peer, seconds: 2)
            #expect((580...640).contains(second))
            try receiver.setRateLimit(nil)
            let (rest, _) = await self.receive(receiver, peer, seconds: 1)
            #expect(first + second + rest == 2_000)
        }
    }

    /// The size of a message is known only when it arrives.
    @Test func bytesArriveAtTheRate() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow) { session, peer in
            let receiver = try await self.open(session, .init(bytesPerSecond: 1_000_000))
            try await self.send(peer, 500, 20_000)
            let (large, _) = await self.receive(receiver, peer, seconds: 4)
            // The first burst assumed small messages, so the rate then falls until the debt is repaid.
            #expect((195...225).contains(large))
            let (more, most) = await self.receive(receiver, peer, seconds: 4)
            #expect((190...210).contains(more))
            #expect(most <= 8)
        }
    }

    @Test func aDrainReturnsTheTokens() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow) { session, peer in
            let receiver = try await self.open(session, .init(messagesPerSecond: 10, burst: .seconds(1)))
            await peer.settle()
            #expect(receiver.credit == 10)
            #expect(try await receiver.drain(timeout: .seconds(1)) == 10)
            await peer.settle()
            #expect(receiver.credit == 10)
            try await receiver.pause()
            await peer.advance(by: .seconds(3))
            #expect(receiver.credit == 0)
            receiver.resume()
            await peer.settle()
            #expect(receiver.credit == 10)
        }
    }

    @Test func aRateThatCannotBeUsedIsRefused() async throws {
        try await withSession { session, _ in
            let bad = AMQPRateLimit(messagesPerSecond: 0)
            await expectError(.invalidArgument) { try await self.open(session, bad) }
            let receiver = try await self.open(session, nil)
            await expectError(.invalidArgument) { try receiver.setRateLimit(bad) }
        }
    }
}
