// SPDX-License-Identifier: Apache-2.0

/// The high and the low watermark for accepted bytes that are not yet written to the socket.
///
/// Sending suspends when it would exceed `high`, and resumes when the bytes have fallen to `low`. A single message
/// larger than `high` is accepted when no other message waits.
public struct AMQPSendLimit: Hashable, Sendable {
    /// The maximum number of accepted bytes.
    public var high: AMQPByteCount
    /// The bytes at which suspended sending resumes; at most ``high``.
    public var low: AMQPByteCount

    /// Whether the sender lowers the limit by itself: see ``automatic(upTo:)``.
    public private(set) var isAutomatic = false

    /// Returns a limit that keeps the queue of a sender short.
    ///
    /// A full queue delays every message without a gain in speed: 1 MiB holds 10,000 messages of 100 bytes. While tasks
    /// reach the limit again and again, the sender lowers it towards the bytes that it sends in 1.5 ms. The limit is at
    /// least 32 KiB, and at least the bytes that the peer's credit allows. The sender raises the limit again while no
    /// task waits.
    ///
    /// The lower limit applies only to calls that suspend. ``AMQPSender/trySend(_:settled:options:)`` and other
    /// overflow policies than ``AMQPOverflow/suspend`` use `ceiling`. Only a sender supports this limit, not a session
    /// or connection.
    ///
    /// - Parameter ceiling: The maximum number of accepted bytes, and the initial limit.
    public static func automatic(upTo ceiling: AMQPByteCount) -> Self {
        var limit = Self(high: ceiling)
        limit.isAutomatic = true
        return limit
    }

    /// Creates a limit.
    ///
    /// - Parameters:
    ///   - high: The maximum number of accepted bytes.
    ///   - low: The bytes at which sending resumes; an eighth below `high` by default. With a value far below `high`, a
    ///     busy task sends in bursts, because the task and the connection wait for each other in turn.
    public init(high: AMQPByteCount, low: AMQPByteCount? = nil) {
        self.high = high
        self.low = min(low ?? AMQPByteCount(high.bytes - high.bytes / 8), high)
    }

    /// The same limit without the automatic adjustment.
    var fixed: Self { Self(high: self.high, low: self.low) }

    /// Checks the limit of a session or a connection.
    func validateShared() throws(AMQPError) {
        try self.validate()
        guard !self.isAutomatic else {
            let text =
                "sendLimit is automatic, which only a sender supports: set a fixed limit for a session or connection"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
    }

    func validate() throws(AMQPError) {
        guard self.low <= self.high else {
            let text = "sendLimit.low is \(self.low): it must be at most sendLimit.high (\(self.high))"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
    }
}
