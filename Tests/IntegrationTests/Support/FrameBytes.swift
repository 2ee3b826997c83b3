// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// The bytes of headers and frames that tests make by hand. Source: AMQP 1.0 §2.3.
enum FrameBytes {
    static let header = Array("AMQP".utf8) + [0, 1, 0, 0]
    static let saslHeader = Array("AMQP".utf8) + [3, 1, 0, 0]

    /// A frame with a list of fields; type 1 is SASL's.
    static func frame(
        _ code: UInt64,
        _ fields: [AMQPValue],
        type: UInt8 = 0,
        channel: UInt16 = 0,
        payload: [UInt8] = []
    ) throws -> [UInt8] {
        var body = ByteBuffer()
        try AMQPValue.described(code, .list(fields)).encode(into: &body)
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(8 + body.readableBytes + payload.count))
        frame.writeBytes([2, type])
        frame.writeInteger(channel)
        frame.writeBuffer(&body)
        frame.writeBytes(payload)
        return Array(frame.readableBytesView)
    }

    static func frame(_ kind: Performative, _ fields: [AMQPValue], payload: [UInt8] = []) throws -> [UInt8] {
        try self.frame(kind.rawValue, fields, payload: payload)
    }

    /// The list that holds an error, for a close, an end or a detach; empty for none.
    static func error(_ error: AMQPError?) -> [AMQPValue] {
        guard let error else { return [] }
        let condition = AMQPValue.symbol(AMQPSymbol(error.condition.rawValue))
        return [.described(0x1d, .list([condition, .string(error.detail), .map(error.info)]))]
    }

    /// How many parts of ``client()`` come before the client must wait for its links and its credit.
    static let opening = 8

    /// What a client sends that logs in, sends two messages on one link and receives on another.
    static func client() throws -> [[UInt8]] {
        let message = try AMQPMessage(body: "hello").encoded()
        let payload = Array(message.readableBytesView)
        let window: [AMQPValue] = [.uint(0), .uint(100), .uint(0), .uint(100)]
        let properties: AMQPMap = [.symbol("key"): [1, "two", nil]]
        return [
            self.saslHeader,
            try self.frame(0x41, [.symbol("ANONYMOUS")], type: 1),
            self.header,
            try self.frame(
                .open,
                ["raw", "localhost", .uint(65_536), .ushort(10), .null, .null, .null, .null, .map(properties)]
            ),
            try self.frame(.begin, [.null, .uint(0), .uint(100), .uint(100)]),
            try self.frame(
                .attach,
                ["out", .uint(0), false, .null, .null, self.source, self.target, .null, .null, .uint(0)]
            ),
            try self.frame(.attach, ["in", .uint(1), true, .null, .null, self.source, self.target]),
            try self.frame(.flow, window + [.uint(1), .uint(0), .uint(10)]),
            try self.frame(.transfer, [.uint(0), .uint(0), self.tag(0), .uint(0), false], payload: payload),
            try self.frame(.transfer, [.uint(0), .uint(1), self.tag(1), .uint(0), false, true], payload: [0, 0x53]),
            try self.frame(.transfer, [.uint(0), .null, .null, .null, .null, false], payload: [0x77, 0xa1, 1, 0x78]),
            try self.frame(.disposition, [true, .uint(0), .uint(1), true, .described(0x24, .list([]))]),
            try self.frame(.detach, [.uint(0), true]),
            try self.frame(.end, []),
            try self.frame(.close, []),
        ]
    }

    /// Two messages for a receiver, the second in two transfers.
    static func twoMessages(handle: AMQPValue, channel: UInt16) throws -> [[UInt8]] {
        let payload = Array(try AMQPMessage(body: "hello").encoded().readableBytesView)
        func transfer(_ fields: [AMQPValue], _ payload: ArraySlice<UInt8>) throws -> [UInt8] {
            try self.frame(0x14, [handle] + fields, channel: channel, payload: Array(payload))
        }
        return [
            try transfer([.uint(0), self.tag(0), .uint(0), false], payload[...]),
            try transfer([.uint(1), self.tag(1), .uint(0), true, true], payload.prefix(5)),
            try transfer([.null, .null, .null, .null, false], payload.dropFirst(5)),
        ]
    }

    private static let source = AMQPValue.described(0x28, ["from"])
    private static let target = AMQPValue.described(0x29, ["to"])

    private static func tag(_ number: UInt8) -> AMQPValue { .binary(ByteBuffer(bytes: [number])) }
}
