// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Frames that are malformed, or that arrive in the wrong state. The connection closes with the reason, and its user
/// receives the same error.
@Suite(.deadline(minutes: 2))
struct HostileFrameTests {
    private static let framing = AMQPCondition.connectionFramingError

    static let malformed: [HostileBytes] = [
        HostileBytes("a size of 0", [0, 0, 0, 0, 2, 0, 0, 0], Self.framing, "a frame of 0 bytes"),
        HostileBytes("a size of 7", [0, 0, 0, 7, 2, 0, 0, 0], Self.framing, "a frame of 7 bytes"),
        HostileBytes(
            "one byte over max-frame-size",
            [0, 1, 0, 1, 2, 0, 0, 0],
            Self.framing,
            "65537 bytes: 8 to 65536"
        ),
        HostileBytes("a size of 4 GiB", [0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0], Self.framing, "4294967295 bytes"),
        HostileBytes("doff 0", [0, 0, 0, 8, 0, 0, 0, 0], Self.framing, "data offset is 0"),
        HostileBytes("doff 1", [0, 0, 0, 12, 1, 0, 0, 0, 1, 2, 3, 4], Self.framing, "data offset is 1"),
        HostileBytes(
            "doff behind the frame",
            [0, 0, 0, 12, 4, 0, 0, 0, 1, 2, 3, 4],
            Self.framing,
            "data offset is 4"
        ),
        HostileBytes(
            "a frame of SASL",
            [0, 0, 0, 15, 2, 1, 0, 0, 0, 0x53, 0x44, 0xC0, 2, 1, 0x40],
            Self.framing,
            "type 1"
        ),
        HostileBytes("an unknown type", [0, 0, 0, 12, 2, 7, 0, 0, 1, 2, 3, 4], Self.framing, "type 7"),
        HostileBytes(
            "an unknown performative",
            [0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x30, 0x45],
            Self.framing,
            "no performative"
        ),
        HostileBytes(
            "a symbol as the descriptor",
            [0, 0, 0, 15, 2, 0, 0, 0, 0, 0xA3, 2, 0x61, 0x62, 0x45, 0x45],
            Self.framing,
            "no performative"
        ),
        HostileBytes(
            "a body that is not described",
            [0, 0, 0, 12, 2, 0, 0, 0, 0x45, 0x53, 0x10, 0x45],
            Self.framing,
            "no performative"
        ),
        HostileBytes("a body cut short", [0, 0, 0, 10, 2, 0, 0, 0, 0, 0x53], Self.framing, "no performative"),
        HostileBytes(
            "fields cut short",
            [0, 0, 0, 14, 2, 0, 0, 0, 0, 0x53, 0x11, 0xC0, 200, 4],
            .decodeError,
            "(begin)"
        ),
        HostileBytes(
            "a list that is none",
            [0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x18, 0x40],
            .decodeError,
            "(close)"
        ),
        HostileBytes("the open twice", [.open(maxFrame: 512, channelMax: 0)], .illegalState, "twice"),
        HostileBytes("a channel beyond channel-max", [.begin(channel: 1_024)], Self.framing, "channel 1024"),
        HostileBytes(
            "the answer to no begin",
            [.begin(channel: 0, answering: 5)],
            .invalidField,
            "unknown channel 5"
        ),
    ]

    static let unmapped: [HostileBytes] = [
        HostileBytes(
            "attach",
            [.attach("x", handle: 0, isReceiver: true, channel: 9)],
            .notAllowed,
            "no such channel: 9"
        ),
        HostileBytes("flow", [.flow(channel: 9)], .notAllowed, "no such channel: 9"),
        HostileBytes(
            "transfer",
            [.transfer(handle: 0, id: 0, tag: [1], channel: 9)],
            .notAllowed,
            "no such channel: 9"
        ),
        HostileBytes("disposition", [.disposition(0, channel: 9)], .notAllowed, "no such channel: 9"),
        HostileBytes("detach", [.detach(0, channel: 9)], .notAllowed, "no such channel: 9"),
        HostileBytes("end", [Frame(.end, channel: 9, [])], .notAllowed, "no such channel: 9"),
    ]

    @Test(arguments: bothRoles, Self.malformed + Self.unmapped)
    func malformedFramesCloseTheConnection(role: ConnectionHandler.Role, hostile: HostileBytes) async throws {
        try await withAdversary(role) { connection, adversary in
            let waiting = begin { try await connection.openSession() }
            await adversary.peer.settle()
            try await adversary.send(ByteBuffer(bytes: hostile.bytes))
            try await adversary.expectClose(hostile.condition, hostile.text, connection)
            await expectError(hostile.condition) { try await waiting.value }
            // The library does not read the bytes behind the malformed frame.
            try await adversary.send(.begin())
            #expect(try await adversary.frames(.close).count == 1)
        }
    }

    /// The same frames, one byte at a time.
    @Test(arguments: bothRoles, Self.malformed.prefix(12))
    func malformedFramesByteByByteCloseTheConnection(role: ConnectionHandler.Role, hostile: HostileBytes) async throws {
        try await withAdversary(role) { connection, adversary in
            for byte in hostile.bytes { try await adversary.send(ByteBuffer(bytes: [byte])) }
            try await adversary.expectClose(hostile.condition, hostile.text, connection)
        }
    }

    static let unattached: [HostileBytes] = [
        HostileBytes("flow", [.flow(handle: 77, deliveryCount: 0, credit: 1)], .invalidField, "no such handle: 77"),
        HostileBytes("transfer", [.transfer(handle: 77, id: 0, tag: [1])], .invalidField, "no such handle: 77"),
        HostileBytes("detach", [.detach(77)], .invalidField, "no such handle: 77"),
        HostileBytes(
            "flow on a detached link",
            [.detach(0), .flow(handle: 0, credit: 1)],
            .invalidField,
            "no such handle: 0"
        ),
        HostileBytes(
            "transfer on a detached link",
            [.detach(0), .transfer(handle: 0, id: 0, tag: [1])],
            .invalidField,
            "no such handle: 0"
        ),
        HostileBytes("a link detached twice", [.detach(0), .detach(0)], .invalidField, "no such handle: 0"),
        HostileBytes("frames behind the end", [Frame(.end, []), .flow()], .notAllowed, "no such channel: 0"),
        HostileBytes(
            "a session ended twice",
            [Frame(.end, []), Frame(.end, [])],
            .notAllowed,
            "no such channel: 0"
        ),
        HostileBytes(
            "a handle in use",
            [.attach("other", handle: 0, isReceiver: false)],
            .sessionHandleInUse,
            "handle 0, which is in use"
        ),
        HostileBytes(
            "a handle of 2³¹",
            [.attach("other", handle: 0x8000_0000, isReceiver: false)],
            .invalidField,
            "handle 2147483648"
        ),
        HostileBytes(
            "a name with a NUL",
            [.attach("a\0b", handle: 5, isReceiver: false)],
            .invalidField,
            "NUL character"
        ),
        HostileBytes("a channel in use", [.begin(channel: 0)], .illegalState, "begun already"),
        HostileBytes(
            "a transfer from a receiver",
            [.attach("other", handle: 5, isReceiver: true), .transfer(handle: 5, id: 0, tag: [1])],
            .notAllowed,
            "on which it receives"
        ),
    ]

    @Test(arguments: bothRoles, Self.unattached)
    func handles(role: ConnectionHandler.Role, hostile: HostileBytes) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            let waiting = begin { [receiver = receivers[1]] in try await receiver.next() }
            try await adversary.send(ByteBuffer(bytes: hostile.bytes))
            try await adversary.expectClose(hostile.condition, hostile.text, connection)
            if hostile.testDescription.contains("end") {
                await expectError(.closed) {
                    if try await waiting.value == nil { throw receivers[1].error ?? .cancelled }
                }
            } else {
                let error = await expectError(hostile.condition) { try await waiting.value }
                #expect(error?.scope == .connection)
            }
        }
    }

    /// The peer attaches another link with the name of an attached link.
    @Test(arguments: bothRoles)
    func aSecondLinkOfOneNameClosesTheConnection(role: ConnectionHandler.Role) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            let name = AMQPValue.string(receivers[0].name)
            try await adversary.send(.attach(name, handle: 9, isReceiver: false))
            try await adversary.expectClose(.invalidField, "link name already attached", connection)
            #expect(receivers[0].error?.condition == .invalidField)
        }
    }

    /// The peer sends frames before its `open`.
    @Test(arguments: bothRoles)
    func aFrameBeforeTheOpenClosesTheConnection(role: ConnectionHandler.Role) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = role == .server
        let peer = try await InMemoryPeer(role: role, configuration: configuration, script: .mute)
        try await peer.run { $0.isDeaf = true }
        let adversary = Adversary(peer: peer)
        try await adversary.send(ByteBuffer(bytes: Array("AMQP".utf8) + [0, 1, 0, 0]))
        try await adversary.send(.begin())
        #expect(try await adversary.error(in: .close)?.condition == .illegalState)
        #expect(try await adversary.frames(.open).count == 1)
        #expect(try await adversary.isCut)
        let error = await expectError(.illegalState) { try await peer.handler.opened.value() }
        #expect(error?.detail.contains("before it opened the connection") == true)
        await peer.finish()
    }

    /// An incomplete frame is buffered up to max-frame-size, and the idle timeout ends it.
    @Test(arguments: bothRoles)
    func anEndlessFrameEndsAtTheIdleTimeout(role: ConnectionHandler.Role) async throws {
        try await withAdversary(role) {
            $0.idleTimeout = .seconds(2)
            $0.operationTimeout = .seconds(5)
        } _: { connection, adversary in
            var bytes = ByteBuffer(bytes: [0, 1, 0, 0, 2, 0, 0, 0, 0, 0x53, 0x10])
            bytes.writeRepeatingByte(0, count: 50_000)
            try await adversary.send(bytes)
            #expect(connection.error == nil)
            await adversary.peer.advance(by: .seconds(5))
            #expect(connection.error?.condition == .idleTimeout, "\(String(describing: connection.error))")
            #expect(try await adversary.error(in: .close)?.condition == .resourceLimitExceeded)
        }
    }

    /// A server that allows one channel, and uses it for a session of its own.
    @Test func noChannelIsLeft() async throws {
        try await withAdversary(.client, open: .open(channelMax: 0)) { connection, adversary in
            let opening = begin { try await connection.openSession() }
            await adversary.peer.settle()
            try await adversary.send(.begin(channel: 0))
            try await adversary.expectClose(.resourceLimitExceeded, "all 1 channels", connection)
            await expectError(.resourceLimitExceeded) { try await opening.value }
        }
    }

    /// The peer continues to send after its `close`.
    @Test(arguments: bothRoles)
    func framesAfterTheClose(role: ConnectionHandler.Role) async throws {
        try await withAdversary(role) { connection, adversary in
            try await adversary.send(Frame(.close, []), .begin(), .attach("x", handle: 0, isReceiver: true))
            #expect(try await adversary.frames(.close).count == 1)
            #expect(try await adversary.isCut)
            #expect(connection.error?.condition == .closed)
        }
    }
}
