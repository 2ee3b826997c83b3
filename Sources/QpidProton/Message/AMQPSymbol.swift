// SPDX-License-Identifier: Apache-2.0

/// A name from a limited set, in ASCII.
///
/// The type accepts any text. Encoding text that is not ASCII throws `local:invalid-argument`, and decoding it throws
/// `amqp:decode-error`.
///
/// Source: AMQP 1.0 §1.6.21.
public struct AMQPSymbol: RawRepresentable, Hashable, Sendable, Comparable, ExpressibleByStringLiteral,
    CustomStringConvertible
{
    /// The text.
    public var rawValue: String

    /// Creates a symbol from a text.
    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    /// Creates a symbol from a text.
    public init(_ text: String) {
        self.rawValue = text
    }

    /// Creates a symbol from a literal.
    public init(stringLiteral value: String) {
        self.rawValue = value
    }

    /// The text.
    public var description: String { self.rawValue }

    /// Returns whether the UTF-8 bytes are equal.
    public static func == (left: AMQPSymbol, right: AMQPSymbol) -> Bool {
        left.rawValue.hasSameUTF8(as: right.rawValue)
    }

    /// Hashes the UTF-8 bytes.
    public func hash(into hasher: inout Hasher) { self.rawValue.hashBytes(into: &hasher) }

    /// Returns whether the UTF-8 bytes of the left symbol precede those of the right symbol.
    public static func < (left: AMQPSymbol, right: AMQPSymbol) -> Bool {
        left.rawValue.utf8.lexicographicallyPrecedes(right.rawValue.utf8)
    }
}
