// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The number of bytes that the library writes in fixed dialogues. Only a change of the library changes these numbers.
/// A larger number is a regression; a smaller number replaces the number in this file.
@Suite(.deadline, .testedProton)
struct WireBytesTests {
    private static var configuration: AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.containerID = "c"
        configuration.virtualHost = "h"
        configuration.idleTimeout = nil
        return configuration
    }

    private func written(_ peer: InMemoryPeer) async throws -> Int {
        await peer.settle()
        return try await peer.run { $0.toPeer.record.readableBytes }
    }

    /// Each message is one transfer. The library sends no other frame for messages that the peer settles.
    @Test(arguments: [AMQPSenderSettleMode.unsettled, .settled])
    func sendingAThousand(mode: AMQPSenderSettleMode) async throws {
        let ample = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(16)))
        try await withSession(configuration: Self.configuration, session: ample, { PeerScript(credit: 2_000) }) {
            session,
            peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.name = "l"
            configuration.settleMode = mode
            let before = try await self.written(peer)
            let sender = try await session.openSender(configuration)
            let attached = try await self.written(peer)
            // The peer's answers would otherwise arrive at different times in each run.
            try await peer.run { $0.toPeer.allowance = 0 }
            let transfers = try (0..<1_000).map { _ in try sender.trySend(encoded: payload(100)) }
            await peer.settle()
            try await peer.run { $0.toPeer.allowance = nil }
            for transfer in transfers { _ = try await transfer.outcome() }
            let sent = try await self.written(peer)
            try await sender.close().check()
            let detached = try await self.written(peer)
            #expect(attached - before == 62)
            #expect(sent - attached == (mode == .settled ? 124_976 : 123_976))
            #expect(detached - sent == 16)
        }
    }

    /// The library sends credit and windows for a thousand messages, and one disposition for all of them.
    @Test func receivingAThousand() async throws {
        try await withSession(configuration: Self.configuration, { .keepingOutcomes }) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q")
            configuration.name = "l"
            configuration.window = .messages(1_000)
            let before = try await self.written(peer)
            let receiver = try await session.openReceiver(configuration)
            let attached = try await self.written(peer)
            try await peer.run { peer in
                for _ in 0..<1_000 { peer.send(payload(100), on: peer.links[0]) }
            }
            var deliveries: [AMQPDelivery] = []
            while deliveries.count < 1_000 { deliveries += try await receiver.nextBatch(max: 1_000) }
            let received = try await self.written(peer)
            deliveries.acceptAll()
            let accepted = try await self.written(peer)
            #expect(try await peer.run { $0.outcomes.count } == 1_000)
            #expect(attached - before == 105)
            // The library sends a flow of credit, and a renewal that names the link.
            #expect(received - attached == 85)
            #expect(accepted - received == 69)
        }
    }

    /// The library writes the header, `open`, `begin`, `end` and `close`.
    @Test func openingAndClosing() async throws {
        let peer = try await InMemoryPeer(configuration: Self.configuration)
        let parts = AMQPConnection.Parts(peer.handler, peer.channel)
        let connection = AMQPConnection(parts, try await parts.opened.value(), Self.configuration)
        let opened = try await self.written(peer)
        let session = try await connection.openSession()
        let begun = try await self.written(peer)
        try await session.close().check()
        let ended = try await self.written(peer)
        try await connection.close().check()
        let closed = try await self.written(peer)
        await peer.finish()
        #expect(opened == 42)
        #expect(begun - opened == 31)
        #expect(ended - begun == 12)
        #expect(closed - ended == 12)
    }
}
