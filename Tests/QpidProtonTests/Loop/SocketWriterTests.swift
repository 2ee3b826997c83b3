// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The bytes between Proton and the socket. The writer counts the bytes that the socket has not accepted.
@Suite(.deadline)
struct SocketWriterTests {
    /// An empty frame, which the peer ignores.
    private static let heartbeat = ByteBuffer(bytes: [0, 0, 0, 8, 2, 0, 0, 0])

    private func write(_ peer: InMemoryPeer, _ frames: Int) throws -> PendingWrites.Confirmed? {
        let handler = peer.handler
        let context = try #require(handler.context)
        for _ in 0..<frames { handler.writer.write(Self.heartbeat, context, for: handler) }
        return handler.writer.flush(context, for: handler)
    }

    @Test func onlyAnUnbufferedChannelConfirmsByItsWritability() {
        let (plain, tls) = (SocketWriter.waterMark(isTLS: false), SocketWriter.waterMark(isTLS: true))
        #expect(plain.low == 1 && plain.high == 1)
        #expect(tls.low == 32_768 && tls.high == 65_536)
    }

    @Test func aSocketWithRoomAcceptsWritesAtOnce() async throws {
        try await withPeer { _, peer in
            try await peer.run { peer in
                let writer = peer.handler.writer
                let (unwritten, done) = (writer.unwrittenBytes, writer.numbers.done)
                peer.wire.completesOnFlush = true
                let confirmed = try #require(try self.write(peer, 3))
                #expect(confirmed.writes == 3 && confirmed.bytes == 24)
                #expect(unwritten == 0 && writer.unwrittenBytes == 24 && writer.unwrittenPeak >= 24)
                writer.end(confirmed, nil, for: peer.handler)
                #expect(writer.unwrittenBytes == 0 && writer.numbers.done == done + 3 && writer.numbers.isIdle)
                // Nothing has been written since.
                let context = try #require(peer.handler.context)
                #expect(writer.flush(context, for: peer.handler) == nil)
                peer.wire.completesOnFlush = false
            }
        }
    }

    @Test func aFullSocketConfirmsAWriteAfterItsLastByte() async throws {
        try await withPeer { connection, peer in
            try await peer.run { peer in
                peer.toPeer.allowance = 12
                let confirmed = try self.write(peer, 2)
                #expect(confirmed == nil && peer.handler.writer.pending.promised == 1)
            }
            #expect(try await peer.run { $0.handler.unwrittenBytes } == 16)
            try await peer.run { $0.toPeer.allowance = nil }
            let rest = try await peer.run { [$0.handler.unwrittenBytes, $0.handler.writer.pending.promised] }
            #expect(rest == [0, 0])
            #expect(try await peer.run { $0.handler.writes.isIdle } && connection.error == nil)
        }
    }

    @Test func lostWritesAreNotDone() async throws {
        try await withPeer { _, peer in
            let done = try await peer.run { peer in
                peer.toPeer.allowance = 0
                _ = try self.write(peer, 2)
                return peer.handler.writes.done
            }
            try await peer.loseConnection()
            let (unwritten, writes) = try await peer.run { ($0.handler.unwrittenBytes, $0.handler.writes) }
            #expect(unwritten == 0 && writes.isIdle && writes.done == done)
        }
    }

    /// Waiting bytes prove to the peer that this side is alive, so the library enqueues no heartbeat behind them.
    @Test func aHeartbeatWaitsForTheSocketToBeEmpty() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.idleTimeout = 1_000
            return script
        }
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        try await withPeer(configuration: configuration, script) { _, peer in
            try await peer.run { peer in
                peer.toPeer.allowance = 0
                _ = try self.write(peer, 1)
            }
            await peer.advance(by: .seconds(10), steps: 50)
            #expect(try await peer.run { $0.handler.unwrittenBytes } == 8)
        }
    }

    @Test func theFarewellOfAConnectionIsAClose() async throws {
        try await withPeer { _, peer in
            try await peer.run { peer in
                let error = AMQPError(scope: .connection, condition: .decodeError, detail: "bad")
                peer.handler.writer.sayFarewell(error, for: peer.handler)
                peer.handler.flush()
            }
            let close = try #require(try await peer.framesOfLibrary().first { $0.code == .close })
            #expect(close.channel == 0)
            #expect(close.field(0) == .described(0x1D, .list([.symbol("amqp:decode-error"), .string("bad")])))
        }
    }
}
