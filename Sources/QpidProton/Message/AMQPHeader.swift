// SPDX-License-Identifier: Apache-2.0

/// The header of a message: how the network delivers it.
///
/// Source: AMQP 1.0 §3.2.1.
public struct AMQPHeader: Hashable, Sendable {
    /// The number of earlier failed attempts to deliver the message.
    public var deliveryCount: UInt32
    /// The time to live in milliseconds, valid if `hasTimeToLive` is set.
    private(set) var timeToLiveMilliseconds: UInt32
    private(set) var hasTimeToLive: Bool
    /// Whether the message must survive a failure of the node that stores it.
    public var durable: Bool
    /// Whether this link is the first to acquire the message.
    public var firstAcquirer: Bool
    /// The priority, 4 by default. A larger value is more urgent.
    public var priority: UInt8

    /// Creates a header.
    ///
    /// - Parameters:
    ///   - durable: Whether the message must survive a failure of the node that stores it.
    ///   - priority: The priority; a larger value is more urgent.
    ///   - timeToLive: How long the message is valid; see ``timeToLive``.
    ///   - firstAcquirer: Whether the link is the first to acquire the message.
    ///   - deliveryCount: The number of earlier failed attempts to deliver the message.
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

    /// How long the message is valid; `nil` for no limit.
    ///
    /// The encoded unit is the millisecond. A part of a millisecond is rounded up, a negative duration becomes 0, and
    /// the maximum is 4,294,967,295 ms (49.7 days).
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
        // This bound prevents an overflow of the product. The result is clamped below.
        guard seconds < 4_294_968 else { return .max }
        guard seconds >= 0 else { return 0 }
        let parts = max(0, attoseconds)
        let milliseconds = seconds * 1000 + parts / 1_000_000_000_000_000
        return UInt32(clamping: milliseconds + (parts % 1_000_000_000_000_000 == 0 ? 0 : 1))
    }
}
