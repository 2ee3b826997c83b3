/// How many messages and how many bytes may pass in a second.
public struct AMQPRateLimit: Hashable, Sendable {
    /// The messages a second; nil for any number.
    public var messagesPerSecond: Double?
    /// The bytes of messages a second; nil for any number.
    public var bytesPerSecond: Double?
    /// The time whose allowance may be used at once after a pause. One message and 16 KiB may be used at once at least.
    public var burst: Duration

    /// Makes a limit. The numbers must be positive and finite.
    ///
    /// - Parameters:
    ///   - messagesPerSecond: The messages a second; nil for any number.
    ///   - bytesPerSecond: The bytes of messages a second; nil for any number.
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
