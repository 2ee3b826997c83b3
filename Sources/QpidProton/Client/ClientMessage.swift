// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A message that the application hands to a client's sender.
struct ClientMessage: Sendable {
    /// The options and times of a message. Most messages have neither.
    private final class Rest: Sendable {
        let options: AMQPSendOptions
        let start: Duration
        let deadline: Duration?
        let timeToLive: Duration?

        init(_ options: AMQPSendOptions, _ timeToLive: Duration?, at now: Duration) {
            self.options = options
            self.start = now
            self.timeToLive = timeToLive
            let limit = [options.expiresAfter, timeToLive].compactMap(\.self).min()
            self.deadline = limit.map { now + max(.zero, $0) }
        }
    }

    let encoded: ByteBuffer
    let isSettled: Bool
    private let rest: Rest?

    /// - Parameters:
    ///   - header: The header; `nil` to read the time to live from the bytes.
    ///   - now: The time of the handover, read only for a message with options or a time to live.
    init(
        _ encoded: ByteBuffer,
        _ options: AMQPSendOptions,
        isSettled: Bool,
        header: AMQPHeader? = nil,
        at now: @autoclosure () -> Duration
    ) {
        self.encoded = encoded
        self.isSettled = isSettled
        let timeToLive: Duration?
        if let header {
            timeToLive = header.timeToLive
        } else {
            timeToLive = Self.timeToLive(of: encoded)
        }
        let hasRest = timeToLive != nil || !options.areDefault
        self.rest = hasRest ? Rest(options, timeToLive, at: now()) : nil
    }

    /// Creates a message without options and without a time to live.
    init(_ encoded: ByteBuffer, isSettled: Bool) {
        self.encoded = encoded
        self.isSettled = isSettled
        self.rest = nil
    }

    var options: AMQPSendOptions { self.rest?.options ?? AMQPSendOptions() }
    /// The time of the handover; zero for a message without options and without a time to live.
    var start: Duration { self.rest?.start ?? .zero }
    /// The deadline for the first byte; `nil` for none.
    var deadline: Duration? { self.rest?.deadline }
    var timeToLive: Duration? { self.rest?.timeToLive }

    /// Returns whether an encoded message has a time to live.
    static func hasTimeToLive(_ encoded: ByteBuffer) -> Bool { self.timeToLive(of: encoded) != nil }

    private static func timeToLive(of encoded: ByteBuffer) -> Duration? {
        self.hasHeader(encoded) ? MessageSections(encoded)?.timeToLive : nil
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
        guard isMarked || self.rest != nil else { return self.encoded }
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
