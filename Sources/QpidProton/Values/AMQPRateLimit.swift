// SPDX-License-Identifier: Apache-2.0

/// A limit for messages and bytes per second.
public struct AMQPRateLimit: Hashable, Sendable {
    /// The messages per second; `nil` for no limit.
    public var messagesPerSecond: Double?
    /// The bytes of messages per second; `nil` for no limit.
    public var bytesPerSecond: Double?
    /// The time whose allowance may be used at once after a pause: 100 ms by default.
    ///
    /// One message and 16 KiB may always pass at once.
    public var burst: Duration

    /// Creates a limit. The numbers must be positive and finite.
    ///
    /// - Parameters:
    ///   - messagesPerSecond: The messages per second; `nil` for no limit.
    ///   - bytesPerSecond: The bytes of messages per second; `nil` for no limit.
    ///   - burst: The time whose allowance may be used at once.
    public init(
        messagesPerSecond: Double? = nil,
        bytesPerSecond: Double? = nil,
        burst: Duration = .milliseconds(100)
    ) {
        self.messagesPerSecond = messagesPerSecond
        self.bytesPerSecond = bytesPerSecond
        self.burst = burst
    }

    func validate() throws(AMQPError) {
        for (name, rate) in [
            ("messagesPerSecond", self.messagesPerSecond), ("bytesPerSecond", self.bytesPerSecond),
        ] {
            guard let rate, !(rate > 0 && rate.isFinite) else { continue }
            throw AMQPError(condition: .invalidArgument, detail: "\(name) is \(rate): it must be positive and finite")
        }
        guard self.burst >= .zero else {
            throw AMQPError(condition: .invalidArgument, detail: "burst is \(self.burst): it must not be negative")
        }
    }
}
