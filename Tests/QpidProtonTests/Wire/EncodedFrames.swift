// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport

@testable import QpidProton

/// A frame with random fields in a random encoding.
struct EncodedFrame {
    /// The encoded fields, one by one.
    var fields: [[UInt8]]
    var descriptor: [UInt8]
    var extendedHeader: [UInt8]
    var payload: [UInt8]
    var channel: UInt16
    /// The constructor of the list.
    var list: UInt8

    init(_ generator: inout ValueGenerator) throws {
        self.fields = []
        for _ in 0..<generator.below(16) {
            let depth = generator.below(3)
            self.fields.append(try generator.value(depth: depth).bytes)
        }
        let code = UInt8(0x10 + generator.below(9))
        switch generator.below(3) {
        case 0: self.descriptor = [0x53, code]
        case 1: self.descriptor = [0x80, 0, 0, 0, 0, 0, 0, 0, code]
        default: self.descriptor = try AMQPValue.symbol("example:frame:list").bytes
        }
        self.extendedHeader = generator.below(4) == 0 ? [1, 2, 3, 4, 5, 6, 7, 8] : []
        self.payload = generator.below(3) == 0 ? (0..<generator.below(300)).map { UInt8($0 & 0xFF) } : []
        self.channel = generator.integer(UInt16.self)
        let size = self.fields.reduce(0) { $0 + $1.count }
        let isShort = size < 0xFF && generator.below(2) == 0
        self.list = self.fields.isEmpty && generator.below(2) == 0 ? 0x45 : isShort ? 0xC0 : 0xD0
    }

    var bytes: [UInt8] {
        let content = self.fields.flatMap { $0 }
        var body = [0] + self.descriptor + [self.list]
        switch self.list {
        case 0x45: break
        case 0xC0: body += [UInt8(content.count + 1), UInt8(self.fields.count)]
        default: body += Self.number(content.count + 4) + Self.number(self.fields.count)
        }
        let rest = self.extendedHeader + body + content + self.payload
        let offset = UInt8(2 + self.extendedHeader.count / 4)
        return Self.number(8 + rest.count) + [offset, 0, UInt8(self.channel >> 8), UInt8(self.channel & 0xFF)] + rest
    }

    private static func number(_ number: Int) -> [UInt8] { EncodedComposite.bigEndian(UInt32(number)) }
}

extension AMQPValue {
    var bytes: [UInt8] {
        get throws {
            var buffer = ByteBuffer()
            try self.encode(into: &buffer)
            return Array(buffer.readableBytesView)
        }
    }
}

/// The message codec's view of a frame, which is independent of the frame editor.
struct ReadFrame: Equatable {
    var head: [UInt8]
    var size: Int
    var descriptor: AMQPValue
    var fields: [AMQPValue]
    var payload: [UInt8]

    init(_ bytes: [UInt8]) throws {
        let offset = Int(bytes[4]) * 4
        self.size = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        self.head = Array(bytes[4..<offset])
        var body = ByteBuffer(bytes: bytes[offset...])
        guard case .described(let performative) = try AMQPValue(decoding: &body),
            let fields = performative.value.listValue
        else { throw Unexpected(what: "no performative") }
        self.descriptor = performative.descriptor
        self.fields = fields
        self.payload = Array(body.readableBytesView)
    }

    /// Returns the field at a position of the standard; `.null` if it was omitted.
    func field(_ index: Int) -> AMQPValue { index < self.fields.count ? self.fields[index] : .null }
}

extension [UInt8] {
    /// Cuts the bytes into random pieces, none of which is empty.
    func cut(_ random: inout SeededGenerator, longest: Int) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = self[...]
        while !rest.isEmpty {
            let count = Swift.min(rest.count, Int.random(in: 1...longest, using: &random))
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }
}
