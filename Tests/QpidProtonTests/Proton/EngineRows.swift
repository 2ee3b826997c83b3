// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import QpidProton

/// Timers, and the limitations of Proton.
@Suite(.deadline)
struct EngineRows {
    private func configuration(idle: Duration?) -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = idle
        return configuration
    }

    /// The connection sends empty frames in time while it sends nothing else.
    @Test("Heartbeats go out", .tags(.p31, .p56))
    func p31_heartbeatsGoOut() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            // Proton advertises half of this value, 10 seconds.
            script.idleTimeout = 20_000
            return script
        }
        try await withPeer(configuration: self.configuration(idle: nil), script) { connection, peer in
            #expect(connection.peer.idleTimeout == .seconds(10))
            let before = try await peer.framesOfLibrary().count
            await peer.advance(by: .seconds(9))
            #expect(try await peer.framesOfLibrary().count == before + 1)
            await peer.advance(by: .seconds(60), steps: 60)
            let frames = try await peer.framesOfLibrary().dropFirst(before)
            #expect(frames.count >= 10 && frames.count <= 15)
            #expect(frames.allSatisfy { $0.code == nil })
            #expect(connection.error == nil)
        }
    }

    /// The `open` advertises half of the idle timeout. A peer that stays silent for the full timeout loses the
    /// connection.
    @Test("A silent peer loses the connection", .tags(.p31, .p56))
    func p31_aSilentPeerLosesTheConnection() async throws {
        try await withPeer(configuration: self.configuration(idle: .seconds(10))) { connection, peer in
            let open = try await peer.framesOfLibrary()[0]
            #expect(open.field(4) == .uint(5_000))
            await peer.advance(by: .seconds(9))
            #expect(connection.error == nil)
            await peer.advance(by: .seconds(2))
            #expect(connection.error?.condition == .idleTimeout)
            #expect(connection.error?.detail.contains("no bytes arrived") == true)
            let closing = begin { try await connection.close().check() }
            do { try await closing.value } catch let error as DeadlineMissed { throw error } catch {}
            #expect(try await peer.run { $0.wire.isClosed })
        }
    }

    /// With an idle timeout on both sides, an idle connection stays open.
    @Test("Both sides stay alive", .tags(.p31, .p56))
    func p56_bothSidesStayAlive() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.idleTimeout = 8_000
            return script
        }
        try await withPeer(configuration: self.configuration(idle: .seconds(6)), script) { connection, peer in
            for _ in 0..<120 {
                await peer.loop.advanceTime(by: .milliseconds(500))
                try await peer.run {
                    _ = pn_transport_tick($0.transport, Int64($0.loop.now.uptimeNanoseconds / 1_000_000))
                }
            }
            #expect(connection.error == nil)
            #expect(try await peer.run { !pn_condition_is_set(pn_transport_condition($0.transport)) })
        }
    }

    /// Values nested as deep as a frame allows crash neither the process nor the library's decoder.
    @Test("Nesting is bounded")
    func nestingIsBounded() async throws {
        let depth = 6_000
        var nested: [UInt8] = [0x40]
        nested.reserveCapacity(9 * depth)
        var heads: [UInt8] = []
        for level in (0..<depth).reversed() {
            heads += [0xD0] + withUnsafeBytes(of: UInt32(4 + 9 * level + 1).bigEndian) { Array($0) } + [0, 0, 0, 1]
        }
        nested = heads + nested
        var bytes = ByteBuffer(bytes: nested)
        // The test builds the frame itself, because the encoder refuses such a value as the decoder does.
        #expect(throws: AMQPError.self) { try AMQPValue(decoding: &bytes) }
        var fields: [UInt8] = [0xA3, 3] + Array("x:y".utf8) + [0xA1, 1, 0x61]
        let info: [UInt8] = [0xA3, 1, 0x6B] + nested
        fields += [0xD1] + withUnsafeBytes(of: UInt32(4 + info.count).bigEndian) { Array($0) } + [0, 0, 0, 2] + info
        let error: [UInt8] =
            [0, 0x53, 0x1D, 0xD0] + withUnsafeBytes(of: UInt32(4 + fields.count).bigEndian) { Array($0) } + [
                0, 0, 0, 3,
            ]
            + fields
        let body: [UInt8] =
            [0, 0x53, 0x18, 0xD0] + withUnsafeBytes(of: UInt32(4 + error.count).bigEndian) { Array($0) } + [0, 0, 0, 1]
            + error
        var frame = ByteBuffer(integer: UInt32(8 + body.count))
        frame.writeBytes([2, 0, 0, 0] + body)
        let close = frame
        try await withPeer { connection, peer in
            try await peer.run { $0.inject(close) }
            #expect(connection.error?.condition == .decodeError && connection.error?.origin == .local)
        }
    }

    /// Proton's own SASL layer stays unused: the first bytes that it sends and receives are the AMQP header.
    @Test("Proton does no SASL", arguments: [ConnectionHandler.Role.client, .server])
    func protonDoesNoSASL(role: ConnectionHandler.Role) async throws {
        try await withPeer(role: role) { _, peer in
            let header: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0]
            let first = try await peer.run { Array($0.toPeer.record.readableBytesView.prefix(8)) }
            #expect(first == header)
            let user = try await peer.run {
                pn_transport_get_user($0.handler.engine.transport).map { String(cString: $0) }
            }
            #expect(user == "anonymous")
        }
        let peer = try await InMemoryPeer(role: role, script: PeerScript.mute)
        let parts = AMQPConnection.Parts(peer.handler, peer.channel)
        try await peer.run { $0.inject(ByteBuffer(bytes: [0x41, 0x4D, 0x51, 0x50, 3, 1, 0, 0])) }
        await expectError(.connectionFramingError) { try await parts.opened.value() }
        await peer.finish()
    }

    /// Fields that Proton does not decode leave the others intact. The library reads the ones that it needs itself.
    @Test("Fields that the engine ignores do no harm")
    func unsupportedCallsOfTheEngineDoNoHarm() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "a")
            let receiver = try await session.openReceiver(from: "b")
            // The flow has available, echo and properties. The session window in the flow, which Proton does not
            // expose, is closed.
            let flow = Frame(
                .flow,
                [
                    .uint(0), .uint(0), .uint(0), .uint(1_000), .uint(0), .uint(0), .uint(5), .uint(77), .bool(false),
                    .bool(true), .map([.symbol("x"): .int(1)]),
                ]
            )
            try await peer.run { try $0.inject(flow) }
            #expect(sender.credit == 5)
            let waiting = try sender.trySend(encoded: payload(10))
            await peer.settle()
            #expect(try await peer.count(.transfer) == 0)
            // The transfer has another message-format, and is batchable.
            let fields: [AMQPValue] = [
                .uint(1), .uint(0), .binary(ByteBuffer(bytes: [1])), .uint(99), .bool(false), .bool(false), .null,
                .null,
                .null, .bool(false), .bool(true),
            ]
            try await peer.run { try $0.inject(Frame(.transfer, fields, payload: payload(9))) }
            #expect(try await receiver.next()?.payload == payload(9))
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 0, window: 1)) }
            #expect(try await waiting.outcome() == .accepted)
            #expect(session.connection.error == nil)
        }
    }
}
