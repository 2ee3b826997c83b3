/// How many bytes may be accepted for sending and not yet written to the socket: the high and the low watermark.
///
/// Sending suspends when it would go above `high`, and goes on when the bytes have fallen to `low`. A single message
/// larger than `high` is accepted when nothing else waits.
public struct AMQPSendLimit: Hashable, Sendable {
    /// The most bytes that are accepted.
    public var high: AMQPByteCount
    /// The bytes at which sending goes on after it was suspended; at most ``high``.
    public var low: AMQPByteCount

    /// Makes a limit.
    ///
    /// - Parameters:
    ///   - high: The most bytes that are accepted.
    ///   - low: Where sending goes on; an eighth below `high` if left out. Far below it, a task that sends without end works
    ///     in bursts, in which the connection waits for it, and then it for the connection.
    public init(high: AMQPByteCount, low: AMQPByteCount? = nil) {
        self.high = high
        self.low = min(low ?? AMQPByteCount(high.bytes - high.bytes / 8), high)
    }

    func validate() throws(AMQPError) {
        guard self.low <= self.high else {
            let text = "sendLimit.low is \(self.low): it must be at most sendLimit.high (\(self.high))"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
    }
}
