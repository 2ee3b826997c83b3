/// The header of a message: what the network is asked to do with it.
///
/// Source: AMQP 1.0 §3.2.1.
public struct AMQPHeader: Hashable, Sendable {
    /// The delivery count: how many attempts to deliver the message failed before.
    public var deliveryCount: UInt32
    /// The time to live in milliseconds, meaningful where `hasTimeToLive` is set.
    private(set) var timeToLiveMilliseconds: UInt32
    private(set) var hasTimeToLive: Bool
    /// Whether the message must survive a failure of the node that holds it.
    public var durable: Bool
    /// Whether no other link has acquired the message before.
    public var firstAcquirer: Bool
    /// The priority: a larger one is more urgent, 4 is the usual one.
    public var priority: UInt8

    /// Creates a header.
    ///
    /// - Parameters:
    ///   - durable: Whether the message must survive a failure of the node that holds it.
    ///   - priority: A larger one is more urgent.
    ///   - timeToLive: How long the message is of use; see ``timeToLive``.
    ///   - firstAcquirer: Whether no other link has acquired the message before.
    ///   - deliveryCount: How many attempts to deliver the message failed before.
    public init(
        durable: Bool = false,
        priority: UInt8 = 4,
        timeToLive: Duration? = nil,
        firstAcquirer: Bool = false,
        deliveryCount: UInt32 = 0
    ) {
        self.durable = durable
        self.priority = priority
        self.firstAcquirer = firstAcquirer
        self.deliveryCount = deliveryCount
        self.timeToLiveMilliseconds = 0
        self.hasTimeToLive = false
        self.timeToLive = timeToLive
    }

    /// How long the message is of use; `nil` for always.
    ///
    /// It travels in whole milliseconds: a part of one counts as one, a negative duration as 0, and one above
    /// 4,294,967,295 ms (49.7 days) as that.
    public var timeToLive: Duration? {
        get { self.hasTimeToLive ? .milliseconds(self.timeToLiveMilliseconds) : nil }
        set {
            self.hasTimeToLive = newValue != nil
            self.timeToLiveMilliseconds = newValue.map(Self.milliseconds) ?? 0
        }
    }

    /// Whether every field has its default value.
    public var isEmpty: Bool {
        !self.durable && self.priority == 4 && !self.hasTimeToLive && !self.firstAcquirer && self.deliveryCount == 0
    }

    mutating func setTimeToLive(milliseconds: UInt32) {
        self.timeToLiveMilliseconds = milliseconds
        self.hasTimeToLive = true
    }

    private static func milliseconds(_ duration: Duration) -> UInt32 {
        let (seconds, attoseconds) = duration.components
        // Seconds beyond this bound are clamped below in any case, and the product cannot overflow.
        guard seconds < 4_294_968 else { return .max }
        guard seconds >= 0 else { return 0 }
        let parts = max(0, attoseconds)
        let milliseconds = seconds * 1000 + parts / 1_000_000_000_000_000
        return UInt32(clamping: milliseconds + (parts % 1_000_000_000_000_000 == 0 ? 0 : 1))
    }
}
