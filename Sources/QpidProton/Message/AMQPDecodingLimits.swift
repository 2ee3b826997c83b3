/// What a decoded value or message may hold at most, and how strictly a message is read.
///
/// A peer can claim much in few bytes: an array of four billion nulls takes 12. These limits bound the memory and the
/// stack that decoding takes. Bytes that exceed them throw `amqp:decode-error`.
public struct AMQPDecodingLimits: Hashable, Sendable {
    /// How deep lists, maps, arrays and described values may lie in each other. A plain value has depth 0, a list of
    /// plain values depth 1. Values above ``highestDepth`` count as that.
    public var maximumDepth: Int
    /// How many elements all lists, maps (two a pair), arrays and described values may hold together. One element
    /// takes 24 bytes of memory besides its own bytes.
    public var maximumElements: Int
    /// Whether a message that breaks a rule of AMQP 1.0 §3.2 throws although its meaning is certain. False by default.
    ///
    /// When false, decoding reads a section that holds null as an empty section, takes sections in any order, and keeps
    /// a field of an unexpected type in ``AMQPMessage/mistypedFields``. A section that occurs twice, two kinds of body
    /// and an unknown section throw in both cases.
    public var isStrict: Bool

    /// Creates limits.
    ///
    /// - Parameters:
    ///   - maximumDepth: How deep values may be nested.
    ///   - maximumElements: How many elements all compound values may hold together.
    ///   - isStrict: Whether a message must keep every rule of AMQP 1.0 §3.2.
    public init(maximumDepth: Int = 32, maximumElements: Int = 262_144, isStrict: Bool = false) {
        self.maximumDepth = maximumDepth
        self.maximumElements = maximumElements
        self.isStrict = isStrict
    }

    /// 32 levels, 262,144 elements, not strict.
    public static let `default` = AMQPDecodingLimits()

    /// The depth that cannot be exceeded, so that the stack suffices: 128. Encoding refuses deeper values too.
    public static let highestDepth = 128
}
