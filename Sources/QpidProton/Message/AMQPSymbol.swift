/// A name from a limited set, in ASCII.
///
/// A symbol may hold any text here; encoding one that is not ASCII throws `local:invalid-argument`, and decoding one
/// throws `amqp:decode-error`.
///
/// Source: AMQP 1.0 §1.6.21.
public struct AMQPSymbol: RawRepresentable, Hashable, Sendable, Comparable, ExpressibleByStringLiteral,
    CustomStringConvertible
{
    /// The text.
    public var rawValue: String

    /// Creates a symbol of a text.
    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    /// Creates a symbol of a text.
    public init(_ text: String) {
        self.rawValue = text
    }

    /// Creates a symbol of a literal text.
    public init(stringLiteral value: String) {
        self.rawValue = value
    }

    /// The text.
    public var description: String { self.rawValue }

    /// Whether the UTF-8 bytes are equal.
    public static func == (left: AMQPSymbol, right: AMQPSymbol) -> Bool {
        left.rawValue.hasSameUTF8(as: right.rawValue)
    }

    /// Hashes the UTF-8 bytes.
    public func hash(into hasher: inout Hasher) { self.rawValue.hashBytes(into: &hasher) }

    /// Whether the left text's UTF-8 bytes come before the right one's.
    public static func < (left: AMQPSymbol, right: AMQPSymbol) -> Bool {
        left.rawValue.utf8.lexicographicallyPrecedes(right.rawValue.utf8)
    }
}
