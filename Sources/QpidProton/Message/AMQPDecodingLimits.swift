/// What a decoded value or message may hold at most.
///
/// A peer can claim much in few bytes: an array of four billion nulls takes 12. These limits bound the memory and the
/// stack that decoding takes; what exceeds them throws `amqp:decode-error`.
public struct AMQPDecodingLimits: Hashable, Sendable {
    /// How deep lists, maps, arrays and described values may lie in each other. A plain value has depth 0, a list of
    /// plain values depth 1. Values above ``highestDepth`` count as that.
    public var maximumDepth: Int
    /// How many elements all lists, maps (two a pair), arrays and described values may hold together. One element
    /// takes 24 bytes of memory besides its own bytes.
    public var maximumElements: Int

    /// Makes limits.
    public init(maximumDepth: Int = 32, maximumElements: Int = 262_144) {
        self.maximumDepth = maximumDepth
        self.maximumElements = maximumElements
    }

    /// 32 levels and 262,144 elements.
    public static let `default` = AMQPDecodingLimits()

    /// The depth that cannot be exceeded, so that the stack suffices: 128. Encoding refuses deeper values too.
    public static let highestDepth = 128
}
