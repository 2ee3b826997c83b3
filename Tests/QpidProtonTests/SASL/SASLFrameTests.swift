// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import Testing

@testable import QpidProton

@Suite struct SASLFrameTests {
    static let frames: [SASLFrame] = [
        .mechanisms([]), .mechanisms(["ANONYMOUS"]), .mechanisms(["PLAIN", "EXTERNAL", "SCRAM-SHA-256"]),
        .initialise(mechanism: "PLAIN", response: nil, hostname: nil),
        .initialise(mechanism: "PLAIN", response: [0, 1, 2], hostname: "höst"),
        .initialise(mechanism: "X", response: [UInt8](repeating: 9, count: 300), hostname: "h"),
        .challenge([]), .challenge([1]), .response([]), .response([UInt8](repeating: 1, count: 60_000)),
        .outcome(.ok, additionalData: nil), .outcome(.sysTemp, additionalData: [5]),
    ]

    static func read(_ bytes: [UInt8], maxFrameSize: Int = 65_536) throws -> SASLFrame? {
        var reader = SASLReader(maxFrameSize: maxFrameSize)
        var buffer = ByteBuffer(bytes: bytes)
        reader.append(&buffer)
        return try reader.nextFrame()
    }

    /// Returns a frame with the given body.
    static func frame(_ body: [UInt8], type: UInt8 = 1, offset: UInt8 = 2) -> [UInt8] {
        let size = UInt32(8 + body.count)
        return withUnsafeBytes(of: size.bigEndian) { Array($0) } + [offset, type, 0, 0] + body
    }

    @Test(arguments: Self.frames)
    func roundTrip(frame: SASLFrame) throws {
        #expect(try Self.read(SASLTestPeer.bytes([frame])) == frame)
    }

    @Test(arguments: Self.frames)
    func everyTruncationWaitsForMore(frame: SASLFrame) throws {
        let bytes = SASLTestPeer.bytes([frame])
        for count in Set((0..<min(bytes.count, 64)) + [bytes.count - 1]) {
            #expect(try Self.read(Array(bytes.prefix(count))) == nil)
        }
    }

    @Test(arguments: Self.frames)
    func everyShortenedBodyIsAnError(frame: SASLFrame) throws {
        let body = SASLTestPeer.bytes([frame]).dropFirst(8)
        for count in 0..<min(body.count, 64) {
            #expect(throws: AMQPError.self) { try Self.read(Self.frame(Array(body.prefix(count)))) }
        }
    }

    @Test func allFormsAreRead() throws {
        let anonymous: [[UInt8]] = [
            // The forms are a list8 with one symbol, a list8 with an array8 of sym8, and a list32 with an array32 of
            // sym32.
            [0, 0x53, 0x40, 0xc0, 4, 1, 0xa3, 1, 0x41],
            [0, 0x53, 0x40, 0xc0, 7, 1, 0xe0, 4, 1, 0xa3, 1, 0x41],
            [0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xd0, 0, 0, 0, 19, 0, 0, 0, 1]
                + [0xf0, 0, 0, 0, 10, 0, 0, 0, 1, 0xb3, 0, 0, 0, 1, 0x41],
            [0, 0xa3, 25] + Array("amqp:sasl-mechanisms:list".utf8) + [0xc0, 4, 1, 0xa3, 1, 0x41],
        ]
        for body in anonymous {
            #expect(try Self.read(Self.frame(body)) == .mechanisms(["A"]))
        }
        #expect(try Self.read(Self.frame([0, 0x53, 0x40, 0x45])) == .mechanisms([]))
        #expect(try Self.read(Self.frame([0, 0x53, 0x40, 0xc0, 2, 1, 0x40])) == .mechanisms([]))
        #expect(try Self.read(Self.frame([0, 0x53, 0x44, 0xc0, 3, 1, 0x50, 0])) == .outcome(.ok, additionalData: nil))
        // An extended header is skipped.
        let extended = Self.frame([7, 7, 7, 7, 0, 0x53, 0x44, 0xc0, 3, 1, 0x50, 1], offset: 3)
        #expect(try Self.read(extended) == .outcome(.auth, additionalData: nil))
    }

    static let bodies: [(String, [UInt8])] = [
        ("no body", []), ("no descriptor", [0x45]), ("unknown performative", [0, 0x53, 0x45, 0x45]),
        ("an AMQP performative", [0, 0x53, 0x10, 0x45]),
        ("a huge descriptor", [0, 0x80] + [UInt8](repeating: 255, count: 9)),
        ("an unknown symbol", [0, 0xa3, 1, 0x41, 0x45]), ("no list", [0, 0x53, 0x40, 0x40]),
        ("list too short", [0, 0x53, 0x44, 0xc0, 2, 1, 0x50, 0]),
        ("list too long", [0, 0x53, 0x44, 0xc0, 9, 1, 0x50, 0]),
        ("outcome without a code", [0, 0x53, 0x44, 0x45]), ("an unknown code", [0, 0x53, 0x44, 0xc0, 3, 1, 0x50, 5]),
        ("a code of another type", [0, 0x53, 0x44, 0xc0, 3, 1, 0x52, 0]),
        ("init without fields", [0, 0x53, 0x41, 0x45]),
        ("a null mechanism", [0, 0x53, 0x41, 0xc0, 2, 1, 0x40]),
        ("a binary mechanism", [0, 0x53, 0x41, 0xc0, 4, 1, 0xa0, 1, 0x41]),
        ("a mechanism beyond ASCII", [0, 0x53, 0x41, 0xc0, 4, 1, 0xa3, 1, 0xff]),
        ("too many fields", [0, 0x53, 0x42, 0xc0, 3, 2, 0x40, 0x40]),
        ("bytes after the list's fields", [0, 0x53, 0x42, 0xc0, 3, 1, 0x40, 0x40]),
        ("a count without bytes", [0, 0x53, 0x40, 0xc0, 1, 255]),
        ("a huge count", [0, 0x53, 0x40, 0xd0, 0, 0, 0, 4, 255, 255, 255, 255]),
        ("a huge array", [0, 0x53, 0x40, 0xd0, 0, 0, 0, 14, 0, 0, 0, 1, 0xf0, 0, 0, 0, 5, 255, 255, 255, 255, 0xa3]),
        ("a huge binary", [0, 0x53, 0x42, 0xd0, 0, 0, 0, 9, 0, 0, 0, 1, 0xb0, 255, 255, 255, 255]),
        ("an array of binary", [0, 0x53, 0x40, 0xc0, 7, 1, 0xe0, 4, 1, 0xa0, 1, 0x41]),
    ]

    @Test(arguments: Self.bodies)
    func malformedBodies(name: String, body: [UInt8]) throws {
        let error = #expect(throws: AMQPError.self) { try Self.read(Self.frame(body)) }
        #expect(error?.condition == .decodeError)
        #expect(error?.scope == .connection)
    }

    static let headers: [(String, [UInt8])] = [
        ("too large", [0, 1, 0, 1, 2, 1, 0, 0]), ("far too large", [255, 255, 255, 255]),
        ("smaller than its header", [0, 0, 0, 7, 2, 1, 0, 0]), ("of no bytes", [0, 0, 0, 0]),
        ("an AMQP frame", [0, 0, 0, 8, 2, 0, 0, 0]), ("offset too small", [0, 0, 0, 8, 1, 1, 0, 0]),
        ("offset beyond the frame", [0, 0, 0, 8, 3, 1, 0, 0]),
    ]

    @Test(arguments: Self.headers)
    func malformedHeaders(name: String, bytes: [UInt8]) throws {
        let error = #expect(throws: AMQPError.self) { try Self.read(bytes) }
        #expect(error?.condition == .connectionFramingError)
    }

    @Test func theCapIsConfigurableAndNeverBelow512() throws {
        let large = SASLTestPeer.bytes([.challenge([UInt8](repeating: 1, count: 1_000))])
        #expect(try Self.read(large, maxFrameSize: large.count) != nil)
        #expect(throws: AMQPError.self) { try Self.read(large, maxFrameSize: large.count - 1) }
        let small = SASLTestPeer.bytes([.challenge([UInt8](repeating: 1, count: 480))])
        #expect(small.count <= 512)
        #expect(try Self.read(small, maxFrameSize: 0) != nil)
    }

    /// Any changed byte leads to frames, an error or a wait on both sides, and never to a trap.
    @Test func everyFlippedByte() async throws {
        let toClient =
            ProtocolHeader.saslBytes
            + SASLTestPeer.bytes([.mechanisms(["ANONYMOUS", "PLAIN"]), .outcome(.ok, additionalData: nil)])
        let toServer =
            ProtocolHeader.saslBytes
            + SASLTestPeer.bytes([.initialise(mechanism: "ANONYMOUS", response: [], hostname: "h")])
        for value: UInt8 in [0x00, 0x01, 0x40, 0x7f, 0x80, 0xff] {
            for index in 0..<max(toClient.count, toServer.count) {
                let client = try await SASLTestPeer.client([SASLAnonymous()])
                if index < toClient.count {
                    try await client.deliver(toClient.withByte(index, value))
                    #expect(client.state.errors.count <= 1)
                    #expect(client.channel.isActive == client.state.errors.isEmpty)
                }
                let server = try await SASLTestPeer.server(.anonymous)
                if index < toServer.count {
                    try await server.deliver(toServer.withByte(index, value))
                    #expect(server.state.errors.count <= 1)
                    #expect(server.channel.isActive == server.state.errors.isEmpty)
                }
            }
        }
    }
}

extension [UInt8] {
    func withByte(_ index: Int, _ value: UInt8) -> Self {
        var copy = self
        copy[index] = value
        return copy
    }
}
