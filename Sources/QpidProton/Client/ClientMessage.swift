// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A message that the application hands to a client's sender.
struct ClientMessage: Sendable {
    let encoded: ByteBuffer
    let options: AMQPSendOptions
    let isSettled: Bool
    /// The time of the handover, and the deadline for the first byte.
    let start: Duration
    let deadline: Duration?
    let timeToLive: Duration?

    init(_ encoded: ByteBuffer, _ options: AMQPSendOptions, isSettled: Bool, at now: Duration) {
        self.encoded = encoded
        self.options = options
        self.isSettled = isSettled
        self.start = now
        self.timeToLive = Self.hasHeader(encoded) ? MessageSections(encoded)?.timeToLive : nil
        let limit = [options.expiresAfter, self.timeToLive].compactMap(\.self).min()
        self.deadline = limit.map { now + max(.zero, $0) }
    }

    /// Returns whether the message begins with a header. Source: AMQP 1.0 §3.2.1.
    private static func hasHeader(_ encoded: ByteBuffer) -> Bool {
        let index = encoded.readerIndex
        switch encoded.getInteger(at: index, as: UInt16.self) {
        case 0x0053: return encoded.getInteger(at: index + 2, as: UInt8.self) == 0x70
        case 0x0080: return encoded.getInteger(at: index + 2, as: UInt64.self) == 0x70
        default: return false
        }
    }

    /// Returns the bytes for an attempt: with the rest of the time to live, and marked after the first attempt.
    func bytes(at now: Duration, attempt: Int, marksReplays: Bool) -> ByteBuffer {
        let isMarked = marksReplays && attempt > 1
        let left = self.timeToLive.map { $0 - (now - self.start) }
        guard isMarked || left.map({ $0.milliseconds != self.timeToLive?.milliseconds }) ?? false,
            var sections = MessageSections(self.encoded)
        else { return self.encoded }
        if let left { sections.setTimeToLive(left) }
        if isMarked { sections.markAsReplayed() }
        return sections.encoded() ?? self.encoded
    }

    /// Returns the options for an attempt, with the rest of the time limit.
    func options(at now: Duration) -> AMQPSendOptions {
        guard let deadline = self.deadline else { return self.options }
        var options = self.options
        options.expiresAfter = max(.nanoseconds(1), deadline - now)
        return options
    }
}
