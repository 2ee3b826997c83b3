// SPDX-License-Identifier: Apache-2.0

/// The limits of a decoded value or message, and the strictness of decoding.
///
/// A peer can claim much in few bytes: an array of four billion nulls needs 12. These limits bound the memory and the
/// stack of decoding. Bytes that exceed them throw `amqp:decode-error`.
public struct AMQPDecodingLimits: Hashable, Sendable {
    /// The deepest nesting of lists, maps, arrays and described values; 32 by default.
    ///
    /// A plain value has depth 0, a list of plain values depth 1. Larger values than ``highestDepth`` count as that.
    public var maximumDepth: Int
    /// The most elements of all lists, maps (two per pair), arrays and described values together; 262,144 by default.
    ///
    /// One element needs 24 bytes of memory in addition to its own bytes.
    public var maximumElements: Int
    /// Whether a message that breaks a rule of AMQP 1.0 §3.2 throws although its meaning is certain; false by default.
    ///
    /// If false, decoding reads a null section as an empty one and accepts sections in any order. It keeps a field of
    /// an unexpected type in ``AMQPMessage/mistypedFields``. A repeated section, two kinds of body and an unknown
    /// section always throw.
    public var isStrict: Bool

    /// Creates limits.
    ///
    /// - Parameters:
    ///   - maximumDepth: The deepest nesting of values.
    ///   - maximumElements: The most elements of all compound values together.
    ///   - isStrict: Whether a message must keep every rule of AMQP 1.0 §3.2.
    public init(maximumDepth: Int = 32, maximumElements: Int = 262_144, isStrict: Bool = false) {
        self.maximumDepth = maximumDepth
        self.maximumElements = maximumElements
        self.isStrict = isStrict
    }

    /// 32 levels, 262,144 elements, not strict.
    public static let `default` = AMQPDecodingLimits()

    /// The highest possible depth, 128, which keeps the stack bounded. Encoding refuses deeper values too.
    public static let highestDepth = 128
}
