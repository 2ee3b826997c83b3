/// The high and the low watermark for bytes that are accepted for sending and not yet written to the socket.
///
/// Sending suspends when it would exceed `high`, and resumes when the bytes have fallen to `low`. A single message
/// larger than `high` is accepted when nothing else waits.
public struct AMQPSendLimit: Hashable, Sendable {
    /// The most bytes that are accepted.
    public var high: AMQPByteCount
    /// The bytes at which suspended sending resumes; at most ``high``.
    public var low: AMQPByteCount

    /// Creates a limit.
    ///
    /// - Parameters:
    ///   - high: The most bytes that are accepted.
    ///   - low: The bytes at which sending resumes; an eighth below `high` by default. With a value far below `high`, a
    ///     task that sends without end works in bursts: the task and the connection wait for each other in turn.
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
