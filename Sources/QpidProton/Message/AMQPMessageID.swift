// SPDX-License-Identifier: Apache-2.0

public import NIOCore

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// The id of a message: one of the four types that AMQP allows.
///
/// Ids of different types differ, even if their texts are equal.
///
/// Source: AMQP 1.0 §3.2.11–3.2.14.
public enum AMQPMessageID: Hashable, Sendable {
    /// A number.
    case ulong(UInt64)
    /// A UUID.
    case uuid(UUID)
    /// Bytes.
    case binary(ByteBuffer)
    /// A text.
    case string(String)

    /// The id as a value of the type system.
    public var value: AMQPValue {
        switch self {
        case .ulong(let value): .ulong(value)
        case .uuid(let value): .uuid(value)
        case .binary(let value): .binary(value)
        case .string(let value): .string(value)
        }
    }

    /// Creates an id from a value; `nil` if its type is not allowed for an id.
    public init?(_ value: AMQPValue) {
        switch value {
        case .ulong(let value): self = .ulong(value)
        case .uuid(let value): self = .uuid(value)
        case .binary(let value): self = .binary(value)
        case .string(let value): self = .string(value)
        default: return nil
        }
    }
}

extension AMQPMessageID {
    /// Returns whether the types and the bits are equal.
    public static func == (left: AMQPMessageID, right: AMQPMessageID) -> Bool { left.value == right.value }

    /// Hashes the type and the bits.
    public func hash(into hasher: inout Hasher) { hasher.combine(self.value) }
}

extension AMQPMessageID: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, CustomStringConvertible {
    /// Creates a ``string(_:)``.
    public init(stringLiteral value: String) {
        self = .string(value)
    }

    /// Creates a ``ulong(_:)``.
    public init(integerLiteral value: UInt64) {
        self = .ulong(value)
    }

    /// A readable text: the id without its type.
    public var description: String {
        switch self {
        case .ulong(let value): "\(value)"
        case .uuid(let value): "\(value)"
        case .binary(let value): value.shortHex
        case .string(let value): value
        }
    }
}
