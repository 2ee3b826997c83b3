// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport

@testable import QpidProton

/// The inputs with which fuzzing begins: the dialogues of this suite, and messages of all types.
enum FuzzSeeds {
    struct Seed {
        var target: FuzzTarget
        var name: String
        var bytes: [UInt8]
    }

    /// The bytes that choose settings: see ``FuzzOptions``.
    private static let options: [(String, UInt8)] = [
        ("plain", 0x00), ("at-once", 0x03), ("in-sevens", 0x02), ("two-by-two", 0x01), ("small", 0x80),
        ("small-streaming", 0xC0), ("streaming", 0x40), ("slow-with-time", 0x18), ("asking", 0x20),
    ]

    static func make() async throws -> [Seed] {
        let toClient = Array(try await Dialogue.bytes(.client, sizes: [0, 20, 700]).readableBytesView)
        let toServer = Array(try await Dialogue.bytes(.server, sizes: [0, 20, 700]).readableBytesView)
        var seeds = try Self.messages()
        for (name, option) in Self.options {
            seeds.append(Seed(target: .client, name: "dialogue-\(name)", bytes: [option] + toClient))
            seeds.append(Seed(target: .server, name: "dialogue-\(name)", bytes: [option] + toServer))
            seeds.append(Seed(target: .server, name: "login-\(name)", bytes: [option] + Self.clientLogin + toServer))
            seeds.append(Seed(target: .sasl, name: "login-\(name)", bytes: [option] + Self.serverLogin + toClient))
            for (group, frames) in try Self.performatives() {
                let bytes = [option | 0x04] + frames
                seeds.append(Seed(target: .client, name: "opened-\(group)-\(name)", bytes: bytes))
            }
        }
        let refusal = Self.bytes([.mechanisms(["PLAIN"]), .outcome(.auth, additionalData: nil)])
        let challenge = Self.bytes([.mechanisms(["PLAIN", "EXTERNAL"]), .challenge([1, 2, 3])])
        seeds.append(Seed(target: .sasl, name: "refusal", bytes: [0x80] + ProtocolHeader.saslBytes + refusal))
        seeds.append(Seed(target: .sasl, name: "challenge", bytes: [0x80] + ProtocolHeader.saslBytes + challenge))
        for (group, frames) in try Self.performatives() {
            seeds.append(Seed(target: .frametap, name: group, bytes: [3, 4, 0, 29] + frames))
            seeds.append(Seed(target: .frameeditor, name: group, bytes: [0x43, 4, 0, 29, 9] + frames))
        }
        let begun = toServer.dropFirst(8)
        seeds.append(Seed(target: .frametap, name: "dialogue", bytes: [1, 10] + begun))
        seeds.append(Seed(target: .frameeditor, name: "dialogue", bytes: [0x11, 10, 9] + begun))
        return seeds + [Seed(target: .frameeditor, name: "symbols", bytes: [0x02, 6, 40, 9] + (try Self.symbols()))]
    }

    // MARK: SASL

    private static let clientLogin =
        ProtocolHeader.saslBytes
        + Self.bytes([.initialise(mechanism: "ANONYMOUS", response: Array("guest".utf8), hostname: "host")])
    private static let serverLogin =
        ProtocolHeader.saslBytes
        + Self.bytes([
            .mechanisms(["EXTERNAL", "PLAIN", "ANONYMOUS"]), .outcome(.ok, additionalData: nil),
        ])

    private static func bytes(_ frames: [SASLFrame]) -> [UInt8] {
        var buffer = ByteBuffer()
        for frame in frames { frame.write(into: &buffer) }
        return Array(buffer.readableBytesView)
    }

    // MARK: Frames

    /// Returns each performative in a rare form, for a session with both links.
    private static func performatives() throws -> [(String, [UInt8])] {
        let error = AMQPValue.described(
            0x1D,
            .list([.symbol("amqp:internal-error"), .string("why"), .map([.symbol("a"): .uint(1)])])
        )
        let states: [AMQPValue] = [
            .described(0x24, .list([])), .described(0x25, .list([error])), .described(0x26, .list([])),
            .described(0x27, .list([.bool(true), .bool(true), .map([.symbol("x"): .int(-1)])])),
            .described(0x23, .list([.uint(1), .ulong(20)])), .described(0x34, .list([.binary(ByteBuffer(bytes: [7]))])),
        ]
        let outcomes = states.enumerated().map { number, state in
            Frame(.disposition, [.bool(true), .uint(UInt32(number)), .null, .bool(number != 4), state])
        }
        let properties: AMQPValue = .map([.symbol("rate"): .ulong(9)])
        let flows = [
            Frame(.flow, [.uint(0), .uint(9), .uint(0), .uint(9), .null, .null, .null, .null, .null, .bool(true)]),
            Frame(
                .flow,
                [
                    .uint(0), .uint(0), .uint(0), .uint(9), .uint(1), .uint(0), .uint(5), .uint(3), .bool(true),
                    .bool(true), properties,
                ]
            ),
            Frame(.flow, [.uint(0), .uint(.max), .uint(3), .uint(0), .uint(0), .uint(3), .null, .uint(8)]),
        ]
        let message = try fullMessage().encoded()
        let transfers: [Frame] = [
            .transfer(handle: 0, id: 0, tag: [1], payload: message),
            .transfer(handle: 0, id: 1, tag: [2], settled: true, payload: try AMQPMessage(body: "x").encoded()),
            .transfer(handle: 0, id: 2, tag: [3], more: true, payload: message),
            .transfer(handle: 0, id: nil, more: true, payload: ByteBuffer(repeating: 0x40, count: 600)),
            .transfer(handle: 0, id: nil, aborted: true),
            .transfer(handle: 0, id: 3, tag: [4], more: true, payload: message.getSlice(at: 0, length: 30) ?? message),
            .transfer(
                handle: 0,
                id: 3,
                payload: message.getSlice(at: 30, length: message.readableBytes - 30) ?? message
            ),
        ]
        let attaches = [
            Frame(.begin, channel: 1, [.null, .uint(7), .uint(10), .uint(10), .uint(255)]),
            Frame(.attach, channel: 1, [.string("own"), .uint(0), .bool(false)] + FuzzDialogue.sending.fields[3...]),
            Frame(.attach, channel: 1, [.string("its"), .uint(1), .bool(true)] + FuzzDialogue.receiving.fields[3...]),
            Frame(.end, channel: 1, [error]),
        ]
        let ends = [
            Frame(.detach, [.uint(0), .bool(true), error]), Frame(.detach, [.uint(1), .bool(false)]),
            Frame(.end, [error]), Frame(.close, [error]),
        ]
        return try [
            ("outcomes", outcomes), ("flows", flows), ("transfers", transfers), ("attaches", attaches), ("ends", ends),
        ].map { name, frames in
            (name, try frames.flatMap { Array(try $0.encoded().readableBytesView) })
        }
    }

    /// Returns performatives, states and termini with symbolic descriptors, and texts with zero bytes.
    private static func symbols() throws -> [UInt8] {
        func named(_ name: String, _ fields: [AMQPValue] = []) -> AMQPValue {
            .described(AMQPDescribed(descriptor: .symbol(AMQPSymbol("amqp:\(name):list")), value: .list(fields)))
        }
        let error: AMQPValue = .described(0x1D, .list([.symbol("a\0b"), .string("c\0d")]))
        let attach = Frame.attach(
            "x",
            handle: 7,
            isReceiver: false,
            source: named("source"),
            target: named("coordinator")
        )
        let states = [
            named("accepted"), named("rejected", [error]), named("transactional-state", [.null, named("released")]),
        ]
        let frames = [FuzzDialogue.open, .begin(), attach, Frame(.detach, [.uint(7), .bool(true), error])]
        let all = frames + states.map { Frame.disposition(0, isReceiver: false, state: $0) }
        var bytes = try all.flatMap { Array(try $0.encoded().readableBytesView) }
        var flow = ByteBuffer()
        try named("flow", [.null, .uint(1), .uint(0), .uint(1)]).encode(into: &flow)
        bytes += [0, 0, 0, UInt8(8 + flow.readableBytes), 2, 0, 0, 0] + Array(flow.readableBytesView)
        return bytes
    }

    // MARK: Messages

    private static func messages() throws -> [Seed] {
        var messages = [try fullMessage(), AMQPMessage(body: .data([payload(3), payload(0), payload(300)]))]
        messages.append(AMQPMessage(body: .sequence([[1, "two"], [], [.null]])))
        var generator = ValueGenerator(seed: 5)
        for _ in 0..<24 { messages.append(AMQPMessage(body: generator.value(depth: 3))) }
        return try messages.enumerated().compactMap { number, message in
            let bytes = Array(try message.encoded().readableBytesView)
            return bytes.count > 2_000 ? nil : Seed(target: .message, name: "message-\(number)", bytes: bytes)
        }
    }
}
