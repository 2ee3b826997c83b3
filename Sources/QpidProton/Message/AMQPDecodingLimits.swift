// SPDX-License-Identifier: Apache-2.0

/// The limits of a decoded value or message, and the strictness of decoding.
///
/// A few bytes can describe a huge value: an array of four billion nulls needs 12 bytes. These limits bound the memory
/// and the stack of decoding. Decoding throws `amqp:decode-error` for bytes that exceed a limit.
public struct AMQPDecodingLimits: Hashable, Sendable {
    /// The maximum nesting of lists, maps, arrays and described values: 32 by default.
    ///
    /// A plain value has depth 0, a list of plain values depth 1. A number above ``highestDepth`` counts as
    /// ``highestDepth``.
    public var maximumDepth: Int
    /// The maximum number of elements of all lists, maps (two per pair), arrays and described values together: 262,144
    /// by default.
    ///
    /// An element needs 24 bytes of memory in addition to its encoded bytes.
    public var maximumElements: Int
    /// Whether decoding refuses a message that breaks a rule of AMQP 1.0 §3.2 although its meaning is unambiguous;
    /// false by default.
    ///
    /// If false, decoding reads a null section as an empty one and accepts sections in any order. It keeps a field of
    /// an unexpected type in ``AMQPMessage/mistypedFields``. A repeated section, two kinds of body and an unknown
    /// section always throw.
    public var isStrict: Bool

    /// Creates limits.
    ///
    /// - Parameters:
    ///   - maximumDepth: The maximum nesting of values.
    ///   - maximumElements: The maximum number of elements of all compound values together.
    ///   - isStrict: Whether a message must follow every rule of AMQP 1.0 §3.2.
    public init(maximumDepth: Int = 32, maximumElements: Int = 262_144, isStrict: Bool = false) {
        self.maximumDepth = maximumDepth
        self.maximumElements = maximumElements
        self.isStrict = isStrict
    }

    /// The default limits: 32 levels, 262,144 elements, not strict.
    public static let `default` = AMQPDecodingLimits()

    /// The highest possible depth, 128, which bounds the stack. Encoding refuses deeper values too.
    public static let highestDepth = 128
}
