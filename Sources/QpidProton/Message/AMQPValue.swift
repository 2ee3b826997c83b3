// SPDX-License-Identifier: Apache-2.0

public import NIOCore

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// One value of the AMQP 1.0 type system.
///
/// Literals create the matching case: `nil`, `true`, `42` (a ``long(_:)``), `1.5` (a ``double(_:)``), `"text"` (a
/// ``string(_:)``), `[1, 2]` (a ``list(_:)``), `["key": 1]` (a ``map(_:)``). The typed getters, such as
/// ``stringValue``, return `nil` for a value of another type.
///
/// Two values are equal if their types and bits are equal, as in AMQP. A NaN equals a NaN of the same bits, `-0.0`
/// differs from `0.0`, and `int` 1 differs from `long` 1. Strings are compared by their UTF-8 bytes, not by canonical
/// equivalence.
///
/// Source: AMQP 1.0 §1.6.
public enum AMQPValue: Sendable {
    /// The null value, §1.6.1.
    case null
    /// A boolean, §1.6.2.
    case bool(Bool)
    /// An unsigned 8-bit integer, §1.6.3.
    case ubyte(UInt8)
    /// An unsigned 16-bit integer, §1.6.4.
    case ushort(UInt16)
    /// An unsigned 32-bit integer, §1.6.5.
    case uint(UInt32)
    /// An unsigned 64-bit integer, §1.6.6.
    case ulong(UInt64)
    /// A signed 8-bit integer, §1.6.7.
    case byte(Int8)
    /// A signed 16-bit integer, §1.6.8.
    case short(Int16)
    /// A signed 32-bit integer, §1.6.9.
    case int(Int32)
    /// A signed 64-bit integer, §1.6.10.
    case long(Int64)
    /// An IEEE 754 binary32 number, §1.6.11.
    case float(Float)
    /// An IEEE 754 binary64 number, §1.6.12.
    case double(Double)
    /// An IEEE 754 decimal32 number, §1.6.13.
    case decimal32(AMQPDecimal32)
    /// An IEEE 754 decimal64 number, §1.6.14.
    case decimal64(AMQPDecimal64)
    /// An IEEE 754 decimal128 number, §1.6.15.
    case decimal128(AMQPDecimal128)
    /// A Unicode scalar, §1.6.16.
    case char(Unicode.Scalar)
    /// A point in time in milliseconds, §1.6.17.
    case timestamp(AMQPTimestamp)
    /// A UUID of RFC 4122, §1.6.18.
    case uuid(UUID)
    /// Bytes, §1.6.19. A decoded value shares the memory of its buffer.
    case binary(ByteBuffer)
    /// Unicode text, §1.6.20.
    case string(String)
    /// A name of ASCII characters, §1.6.21.
    case symbol(AMQPSymbol)
    /// A sequence of values of any types, §1.6.22.
    case list([AMQPValue])
    /// Ordered keys and values, §1.6.23.
    case map(AMQPMap)
    /// A sequence of values of one type, §1.6.24.
    case array(AMQPArray)
    /// A value with a descriptor, §1.2.
    indirect case described(AMQPDescribed)
}

extension AMQPValue {
    /// The primitive type; `nil` for a described value.
    public var type: AMQPType? {
        switch self {
        case .null: .null
        case .bool: .bool
        case .ubyte: .ubyte
        case .ushort: .ushort
        case .uint: .uint
        case .ulong: .ulong
        case .byte: .byte
        case .short: .short
        case .int: .int
        case .long: .long
        case .float: .float
        case .double: .double
        case .decimal32: .decimal32
        case .decimal64: .decimal64
        case .decimal128: .decimal128
        case .char: .char
        case .timestamp: .timestamp
        case .uuid: .uuid
        case .binary: .binary
        case .string: .string
        case .symbol: .symbol
        case .list: .list
        case .map: .map
        case .array: .array
        case .described: nil
        }
    }

    /// Returns a described value with a numeric descriptor.
    public static func described(_ descriptor: UInt64, _ value: AMQPValue) -> AMQPValue {
        .described(AMQPDescribed(descriptor: .ulong(descriptor), value: value))
    }

    /// Returns a described value with a symbolic descriptor.
    public static func described(_ descriptor: AMQPSymbol, _ value: AMQPValue) -> AMQPValue {
        .described(AMQPDescribed(descriptor: .symbol(descriptor), value: value))
    }
}
