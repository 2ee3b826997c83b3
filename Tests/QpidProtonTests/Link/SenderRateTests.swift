// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Senders with a rate limit, on the clock of the testing loop.
@Suite(.deadline)
struct SenderRateTests {
    private let room = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(4)))

    private func withRate(
        _ limit: AMQPRateLimit,
        session: AMQPSession.Configuration? = nil,
        _ body: (AMQPSender, InMemoryPeer) async throws -> Void
    ) async throws {
        var connection = AMQPConnection.Configuration()
        connection.idleTimeout = nil
        let session = session ?? self.room
        try await withSession(configuration: connection, session: session, { PeerScript(credit: 10_000) }) {
            session,
            peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.rateLimit = limit
            try await body(try await session.openSender(configuration), peer)
        }
    }

    private func received(_ peer: InMemoryPeer) async throws -> Int {
        try await peer.run { $0.received.count }
    }

    @Test func messagesASecond() async throws {
        try await self.withRate(.init(messagesPerSecond: 100)) { sender, peer in
            for _ in 0..<2_000 { try sender.trySend(encoded: payload(10)) }
            await peer.settle()
            #expect(try await self.received(peer) == 10)
            await peer.advance(by: .seconds(1), steps: 20)
            #expect(try await self.received(peer) == 110)
            await peer.advance(by: .seconds(9), steps: 50)
            #expect((1_000...1_010).contains(try await self.received(peer)))
            #expect(sender.outgoingBytes.bytes == 20_000 - 10 * (try await self.received(peer)))
        }
    }

    @Test func bytesASecondAndAMessageLargerThanTheBurst() async throws {
        try await self.withRate(.init(bytesPerSecond: 10_000)) { sender, peer in
            let large = try sender.trySend(encoded: payload(100_000))
            let small = try sender.trySend(encoded: payload(1_000))
            await peer.advance(by: .seconds(5), steps: 20)
            let arrived = 100_000 + 1_000 - sender.outgoingBytes.bytes
            #expect((50_000...(50_000 + 16_384 + RateLimiter.leastSlice)).contains(arrived))
            #expect(try await self.received(peer) == 0)
            await peer.advance(by: .seconds(4), steps: 20)
            #expect(try await large.outcome() == .accepted)
            #expect(try await small.outcome() == .accepted)
            #expect(try await peer.run { $0.received.map(\.bytes) } == [payload(100_000), payload(1_000)])
            #expect(sender.outgoingBytes == 0)
        }
    }

    /// A low rate does not split small messages.
    @Test func aLowRateDoesNotCutSmallMessages() async throws {
        try await self.withRate(.init(bytesPerSecond: 1_000)) { sender, peer in
            for _ in 0..<300 { try sender.trySend(encoded: payload(100)) }
            await peer.advance(by: .seconds(10), steps: 100)
            let received = try await self.received(peer)
            #expect((260...266).contains(received))
            #expect(try await peer.count(.transfer) == received)
        }
    }

    @Test func theLimitChangesWhileRunning() async throws {
        try await self.withRate(.init(messagesPerSecond: 10)) { sender, peer in
            for _ in 0..<1_000 { try sender.trySend(encoded: payload(10)) }
            await peer.advance(by: .seconds(1), steps: 5)
            #expect(try await self.received(peer) == 11)
            try sender.setRateLimit(.init(messagesPerSecond: 200))
            await peer.advance(by: .seconds(1), steps: 20)
            #expect((205...231).contains(try await self.received(peer)))
            await expectError(.invalidArgument) { try sender.setRateLimit(.init(messagesPerSecond: 0)) }
            try sender.setRateLimit(nil)
            await peer.settle()
            #expect(try await self.received(peer) == 1_000)
            try sender.setRateLimit(.init(messagesPerSecond: 1))
            for _ in 0..<10 { try sender.trySend(encoded: payload(10)) }
            await peer.advance(by: .seconds(3), steps: 6)
            #expect(try await self.received(peer) == 1_004)
        }
    }

    @Test func anotherSenderIsNotDelayed() async throws {
        try await self.withRate(.init(messagesPerSecond: 10)) { limited, peer in
            let free = try await limited.session.openSender(to: "free")
            for _ in 0..<50 {
                try limited.trySend(encoded: payload(10))
                try free.trySend(encoded: payload(20_000))
            }
            await peer.settle()
            #expect(free.outgoingBytes == 0)
            #expect(limited.outgoingBytes == 490)
        }
    }

    @Test func messagesHeldByTheRateFillTheLimit() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 1_000))
        try await self.withRate(.init(messagesPerSecond: 1), session: session) { sender, peer in
            for _ in 0..<10 { try sender.trySend(encoded: payload(100)) }
            await peer.settle()
            let error = await expectError(.wouldBlock) { try sender.trySend(encoded: payload(200)) }
            #expect(error?.blockedBy == [.sessionLimit, .rate])
            let waiting = begin { try await sender.enqueue(encoded: payload(100)) }
            await peer.settle()
            #expect(!waiting.isDone)
            await peer.advance(by: .seconds(1), steps: 2)
            _ = try await waiting.value
            #expect(sender.outgoingBytes == 900)
        }
    }

    @Test func aCloseByDeadlineKeepsTheRate() async throws {
        try await self.withRate(.init(messagesPerSecond: 10)) { sender, peer in
            for _ in 0..<100 { try sender.trySend(encoded: payload(10)) }
            await peer.settle()
            let closing = begin { await sender.close(within: .seconds(2)) }
            await peer.advance(by: .seconds(3), steps: 30)
            let rest = try await closing.value
            #expect(rest.unsent.count + (try await self.received(peer)) == 100)
            #expect((78...80).contains(rest.unsent.count))
        }
    }

    @Test func aRateThatCannotBeUsedIsRefused() async throws {
        try await withSession { session, _ in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.rateLimit = .init(bytesPerSecond: -1)
            await expectError(.invalidArgument) { try await session.openSender(configuration) }
        }
    }
}
