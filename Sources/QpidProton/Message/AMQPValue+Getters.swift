// SPDX-License-Identifier: Apache-2.0

public import NIOCore

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

extension AMQPValue {
    /// Whether the value is ``null``.
    public var isNull: Bool {
        if case .null = self { true } else { false }
    }

    /// The boolean; `nil` for another type.
    public var boolValue: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// The integer, of any of the eight integer types, if it fits an `Int`; `nil` otherwise.
    public var intValue: Int? {
        switch self {
        case .ubyte(let value): Int(value)
        case .ushort(let value): Int(value)
        case .uint(let value): Int(exactly: value)
        case .ulong(let value): Int(exactly: value)
        case .byte(let value): Int(value)
        case .short(let value): Int(value)
        case .int(let value): Int(value)
        case .long(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The integer, of any of the eight integer types, if it is not negative; `nil` otherwise.
    public var uintValue: UInt64? {
        switch self {
        case .ubyte(let value): UInt64(value)
        case .ushort(let value): UInt64(value)
        case .uint(let value): UInt64(value)
        case .ulong(let value): value
        case .byte(let value): UInt64(exactly: value)
        case .short(let value): UInt64(exactly: value)
        case .int(let value): UInt64(exactly: value)
        case .long(let value): UInt64(exactly: value)
        default: nil
        }
    }

    /// The number of a `float` or a `double`; `nil` for another type.
    public var doubleValue: Double? {
        switch self {
        case .float(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    /// The text of a `string`; `nil` for any other type, including symbols.
    public var stringValue: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// The symbol; `nil` for any other type, including strings.
    public var symbolValue: AMQPSymbol? {
        if case .symbol(let value) = self { value } else { nil }
    }

    /// The Unicode scalar of a `char`; `nil` for another type.
    public var charValue: Unicode.Scalar? {
        if case .char(let value) = self { value } else { nil }
    }

    /// The bytes of a `binary`; `nil` for another type.
    public var binaryValue: ByteBuffer? {
        if case .binary(let value) = self { value } else { nil }
    }

    /// The point in time; `nil` for another type.
    public var timestampValue: AMQPTimestamp? {
        if case .timestamp(let value) = self { value } else { nil }
    }

    /// The UUID; `nil` for another type.
    public var uuidValue: UUID? {
        if case .uuid(let value) = self { value } else { nil }
    }

    /// The elements of a `list`; `nil` for any other type, including arrays.
    public var listValue: [AMQPValue]? {
        if case .list(let value) = self { value } else { nil }
    }

    /// The map; `nil` for another type.
    public var mapValue: AMQPMap? {
        if case .map(let value) = self { value } else { nil }
    }

    /// The array; `nil` for any other type, including lists.
    public var arrayValue: AMQPArray? {
        if case .array(let value) = self { value } else { nil }
    }

    /// The described value; `nil` for another type.
    public var describedValue: AMQPDescribed? {
        if case .described(let value) = self { value } else { nil }
    }
}
