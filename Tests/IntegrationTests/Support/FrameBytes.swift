// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import TestSupport

/// The bytes of headers and frames that tests build themselves. Source: AMQP 1.0 §2.3.
enum FrameBytes {
    static let header = Array("AMQP".utf8) + [0, 1, 0, 0]
    static let saslHeader = Array("AMQP".utf8) + [3, 1, 0, 0]

    /// Returns the fields of a close or an end, which contain the error; empty without an error.
    static func error(_ error: AMQPError?) -> [AMQPValue] {
        guard let error else { return [] }
        let condition = AMQPValue.symbol(AMQPSymbol(error.condition.rawValue))
        return [.described(0x1d, .list([condition, .string(error.detail), .map(error.info)]))]
    }

    /// The number of parts of ``client()`` before the client must wait for its links and its credit.
    static let opening = 8

    /// Returns the bytes of a client that logs in, sends two messages on one link, and receives on another.
    static func client() throws -> [[UInt8]] {
        let message = try AMQPMessage(body: "hello").encoded()
        let window: [AMQPValue] = [.uint(0), .uint(100), .uint(0), .uint(100)]
        let properties: AMQPMap = [.symbol("key"): [1, "two", nil]]
        let frames = [
            Frame(
                .open,
                ["raw", "localhost", .uint(65_536), .ushort(10), .null, .null, .null, .null, .map(properties)]
            ),
            Frame(.begin, [.null, .uint(0), .uint(100), .uint(100)]),
            Frame(
                .attach,
                ["out", .uint(0), false, .null, .null, self.source, self.target, .null, .null, .uint(0)]
            ),
            Frame(.attach, ["in", .uint(1), true, .null, .null, self.source, self.target]),
            Frame(.flow, window + [.uint(1), .uint(0), .uint(10)]),
            Frame(.transfer, [.uint(0), .uint(0), self.tag(0), .uint(0), false], payload: message),
            Frame(
                .transfer,
                [.uint(0), .uint(1), self.tag(1), .uint(0), false, true],
                payload: ByteBuffer(bytes: [0, 0x53])
            ),
            Frame(
                .transfer,
                [.uint(0), .null, .null, .null, .null, false],
                payload: ByteBuffer(bytes: [0x77, 0xa1, 1, 0x78])
            ),
            Frame(.disposition, [true, .uint(0), .uint(1), true, .described(0x24, .list([]))]),
            Frame(.detach, [.uint(0), true]),
            Frame(.end, []),
            Frame(.close, []),
        ]
        let login = try Frame(.initialise, [.symbol("ANONYMOUS")]).bytes()
        return [self.saslHeader, login, self.header] + (try frames.map { try $0.bytes() })
    }

    /// Returns two messages for a receiver, the second in two transfers.
    static func twoMessages(handle: AMQPValue, channel: UInt16) throws -> [[UInt8]] {
        var payload = try AMQPMessage(body: "hello").encoded()
        let whole = payload
        let start = payload.readSlice(length: 5) ?? ByteBuffer()
        func transfer(_ fields: [AMQPValue], _ payload: ByteBuffer) throws -> [UInt8] {
            try Frame(.transfer, channel: channel, [handle] + fields, payload: payload).bytes()
        }
        return [
            try transfer([.uint(0), self.tag(0), .uint(0), false], whole),
            try transfer([.uint(1), self.tag(1), .uint(0), true, true], start),
            try transfer([.null, .null, .null, .null, false], payload),
        ]
    }

    private static let source = AMQPValue.described(0x28, ["from"])
    private static let target = AMQPValue.described(0x29, ["to"])

    private static func tag(_ number: UInt8) -> AMQPValue { .binary(ByteBuffer(bytes: [number])) }
}
