// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// A sender keeps to its rate, and resumes by itself.
@Suite(.deadline)
struct SendPacerTests {
    /// Runs `body` with a sender of ten messages per second, in bursts of one, with credit for all.
    private func withPaced(_ body: (AMQPSender, InMemoryPeer) async throws -> Void) async throws {
        var connection = AMQPConnection.Configuration()
        connection.idleTimeout = nil
        try await withSession(configuration: connection) { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.rateLimit = AMQPRateLimit(messagesPerSecond: 10, burst: .milliseconds(100))
            let sender = try await session.openSender(configuration)
            for _ in 0..<8 { try sender.trySend(encoded: payload(10)) }
            await peer.settle()
            try await body(sender, peer)
        }
    }

    private func received(_ peer: InMemoryPeer) async throws -> Int { try await peer.run { $0.received.count } }

    @Test func theNextMessageLeavesWhenItsTimeHasCome() async throws {
        try await self.withPaced { sender, peer in
            let link = try await sender.snapshot()
            #expect(link.blockedBy == .rate && link.messages == 7)
            #expect(try await self.received(peer) == 1)
            // The checks run at 90, 110, 180 and 210 ms.
            for (time, count) in [(90, 1), (20, 2), (70, 2), (30, 3)] as [(Int64, Int)] {
                await peer.advance(by: .milliseconds(time), steps: 1)
                #expect(try await self.received(peer) == count)
            }
        }
    }

    @Test func withoutALimitAllLeavesAtOnce() async throws {
        try await self.withPaced { sender, peer in
            try sender.setRateLimit(nil)
            await peer.settle()
            #expect(try await self.received(peer) == 8)
            #expect(try await sender.snapshot().blockedBy == nil)
        }
    }

    @Test func anotherLimitCountsFromNowOn() async throws {
        try await self.withPaced { sender, peer in
            try sender.setRateLimit(AMQPRateLimit(messagesPerSecond: 1, burst: .seconds(1)))
            await peer.settle()
            let before = try await self.received(peer)
            await peer.advance(by: .milliseconds(900), steps: 9)
            #expect(try await self.received(peer) == before)
            await peer.advance(by: .milliseconds(200), steps: 2)
            #expect(try await self.received(peer) == before + 1)
        }
    }

    /// The timer of an ended sender wakes no other sender.
    @Test func aPacedSenderCanBeClosed() async throws {
        try await self.withPaced { sender, peer in
            let rest = await sender.close()
            #expect(rest.notSent == 7 && rest.error == nil)
            await peer.advance(by: .seconds(2))
            let received = try await self.received(peer)
            #expect(received == 1 && sender.session.error == nil)
        }
    }
}
