// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport

@testable import QpidProton

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Generates values of all types. Edge cases are more frequent than in a uniform distribution.
struct ValueGenerator {
    var random: SeededGenerator

    init(seed: UInt64) {
        self.random = SeededGenerator(seed: seed)
    }

    mutating func below(_ bound: Int) -> Int {
        Int.random(in: 0..<bound, using: &self.random)
    }

    /// Returns an integer of any width. Each number of significant bits is equally likely.
    mutating func integer<T: FixedWidthInteger>(_ type: T.Type) -> T {
        let shift = self.below(T.bitWidth + 1)
        let bits = UInt64.random(in: .min ... .max, using: &self.random)
        let value = T(truncatingIfNeeded: shift == T.bitWidth ? 0 : bits & (UInt64(T.Magnitude.max) >> shift))
        return T.isSigned && self.below(2) == 0 ? ~value : value
    }

    mutating func length() -> Int {
        switch self.below(20) {
        case 0: 255
        case 1: 256
        case 2: self.below(3000)
        default: self.below(24)
        }
    }

    mutating func binary() -> ByteBuffer {
        ByteBuffer(bytes: (0..<self.length()).map { _ in UInt8(self.below(256)) })
    }

    mutating func scalar() -> Unicode.Scalar {
        let bounds: [UInt32] = [0x80, 0x800, 0x1_0000, 0x11_0000]
        let bits = UInt32(self.below(Int(bounds[self.below(4)])))
        return Unicode.Scalar(bits) ?? "\u{fffd}"
    }

    mutating func string() -> String {
        let length = self.length()
        if self.below(2) == 0 { return self.symbol().rawValue }
        var text = String.UnicodeScalarView()
        while text.count < length / 2 { text.append(self.scalar()) }
        return String(text)
    }

    mutating func symbol() -> AMQPSymbol {
        AMQPSymbol(String(decoding: (0..<self.length()).map { _ in UInt8(self.below(128)) }, as: UTF8.self))
    }

    mutating func uuid() -> UUID {
        UUID.random(using: &self.random)
    }

    mutating func plain(_ type: AMQPType) -> AMQPValue {
        switch type {
        case .null: .null
        case .bool: .bool(self.below(2) == 0)
        case .ubyte: .ubyte(self.integer(UInt8.self))
        case .ushort: .ushort(self.integer(UInt16.self))
        case .uint: .uint(self.integer(UInt32.self))
        case .ulong: .ulong(self.integer(UInt64.self))
        case .byte: .byte(self.integer(Int8.self))
        case .short: .short(self.integer(Int16.self))
        case .int: .int(self.integer(Int32.self))
        case .long: .long(self.integer(Int64.self))
        case .float: .float(Float(bitPattern: self.integer(UInt32.self)))
        case .double: .double(Double(bitPattern: self.integer(UInt64.self)))
        case .decimal32: .decimal32(AMQPDecimal32(bitPattern: self.integer(UInt32.self)))
        case .decimal64: .decimal64(AMQPDecimal64(bitPattern: self.integer(UInt64.self)))
        case .decimal128:
            .decimal128(AMQPDecimal128(high: self.integer(UInt64.self), low: self.integer(UInt64.self)))
        case .char: .char(self.scalar())
        case .timestamp: .timestamp(AMQPTimestamp(millisecondsSinceEpoch: self.integer(Int64.self)))
        case .uuid: .uuid(self.uuid())
        case .binary: .binary(self.binary())
        case .string: .string(self.string())
        case .symbol: .symbol(self.symbol())
        case .list: .list([])
        case .map: .map([:])
        case .array: .array(AMQPArray(emptyOf: AMQPType.allCases[self.below(24)]))
        }
    }

    mutating func count() -> Int {
        self.below(30) == 0 ? self.below(400) : self.below(6)
    }

    /// Returns a value of one type, with compound values nested at most `depth` deep.
    mutating func value(_ type: AMQPType, depth: Int) -> AMQPValue {
        switch type {
        case .list where depth > 0: .list(self.values(depth: depth - 1))
        case .map where depth > 0: .map(self.map(depth: depth - 1))
        case .array where depth > 0: .array(self.array(depth: depth - 1))
        default: self.plain(type)
        }
    }

    mutating func value(depth: Int) -> AMQPValue {
        if depth > 0, self.below(12) == 0 {
            return .described(
                AMQPDescribed(descriptor: self.value(depth: depth - 1), value: self.value(depth: depth - 1))
            )
        }
        return self.value(AMQPType.allCases[self.below(depth > 0 ? 24 : 21)], depth: depth)
    }

    mutating func values(depth: Int) -> [AMQPValue] {
        (0..<self.count()).map { _ in self.value(depth: depth) }
    }

    mutating func map(depth: Int) -> AMQPMap {
        AMQPMap((0..<self.count()).map { _ in (key: self.value(depth: depth), value: self.value(depth: depth)) })
    }

    mutating func array(depth: Int) -> AMQPArray {
        let type = AMQPType.allCases[self.below(24)]
        let all: [AMQPValue] = [.symbol(self.symbol()), .ulong(1)]
        let descriptors = Array(all.prefix(depth > 1 ? [0, 0, 1, 2][self.below(4)] : 0))
        let elements = (0..<self.count()).map { _ in
            descriptors.reversed().reduce(self.value(type, depth: depth - descriptors.count)) {
                .described(AMQPDescribed(descriptor: $1, value: $0))
            }
        }
        return AMQPArray(uniform: elements, type: type, descriptors: descriptors)
    }

    mutating func messageID() -> AMQPMessageID? {
        switch self.below(6) {
        case 0: .ulong(self.integer(UInt64.self))
        case 1: .uuid(self.uuid())
        case 2: .binary(self.binary())
        case 3: .string(self.string())
        default: nil
        }
    }

    mutating func maybe<T>(_ make: (inout ValueGenerator) -> T) -> T? {
        self.below(3) == 0 ? make(&self) : nil
    }

    mutating func message() -> AMQPMessage {
        var message = AMQPMessage()
        message.emptySections = AMQPMessage.EmptySections(rawValue: UInt8(self.below(64)))
        if self.below(2) == 0 {
            message.header = AMQPHeader(
                durable: self.below(2) == 0,
                priority: self.integer(UInt8.self),
                timeToLive: self.maybe { .milliseconds($0.integer(UInt32.self)) },
                firstAcquirer: self.below(2) == 0,
                deliveryCount: self.integer(UInt32.self)
            )
        }
        if self.below(3) == 0 { message.deliveryAnnotations = self.map(depth: 3) }
        if self.below(3) == 0 { message.messageAnnotations = self.map(depth: 3) }
        if self.below(2) == 0 { message.properties = self.properties() }
        if self.below(2) == 0 { message.applicationProperties = self.map(depth: 1) }
        switch self.below(6) {
        case 0: break
        case 1: message.body = .data([self.binary()])
        case 2: message.body = .data((0..<self.count()).map { _ in self.binary() })
        case 3: message.body = .sequence((0..<self.below(4)).map { _ in self.values(depth: 2) })
        default: message.body = .value(self.value(depth: 4))
        }
        if self.below(3) == 0 { message.footer = self.map(depth: 2) }
        return message
    }

    private mutating func properties() -> AMQPProperties {
        var properties = AMQPProperties()
        properties.messageID = self.messageID()
        properties.userID = self.maybe { $0.binary() }
        properties.to = self.maybe { $0.string() }
        properties.subject = self.maybe { $0.string() }
        properties.replyTo = self.maybe { $0.string() }
        properties.correlationID = self.messageID()
        properties.contentType = self.maybe { $0.symbol() }
        properties.contentEncoding = self.maybe { $0.symbol() }
        properties.absoluteExpiryTime = self.maybe { AMQPTimestamp(millisecondsSinceEpoch: $0.integer(Int64.self)) }
        properties.creationTime = self.maybe { AMQPTimestamp(millisecondsSinceEpoch: $0.integer(Int64.self)) }
        properties.groupID = self.maybe { $0.string() }
        properties.groupSequence = self.maybe { $0.integer(UInt32.self) }
        properties.replyToGroupID = self.maybe { $0.string() }
        return properties
    }
}
