// SPDX-License-Identifier: Apache-2.0

/// The counts of a consumer: the outcomes of the messages that it received.
///
/// received = accepted + failed + rejected + released + decided by the application + stale + in progress.
public struct AMQPConsumerResult: Hashable, Sendable {
    /// The messages that the consumer received.
    public internal(set) var received = 0
    /// The messages that the consumer accepted, because their handlers returned.
    public internal(set) var accepted = 0
    /// The messages that the consumer returned as failed, because their handlers threw or exceeded the time limit.
    ///
    /// Source: AMQP 1.0 §3.4.5, `modified` with `delivery-failed`.
    public internal(set) var failed = 0
    /// The messages that the consumer rejected after the last attempt.
    public internal(set) var rejected = 0
    /// The messages that the consumer released when it stopped.
    public internal(set) var released = 0
    /// The messages that the handlers settled themselves.
    public internal(set) var byApplication = 0
    /// The messages whose link was lost before the decision: the peer sends them again.
    public internal(set) var stale = 0
    /// The messages that the consumer holds now, with a handler or waiting for one.
    public internal(set) var inProgress = 0

    /// The calls of the handler.
    public internal(set) var handled = 0
    /// The failed messages that the consumer handled again in place. Messages that returned to their source do not
    /// count.
    public internal(set) var retried = 0
    /// The calls of the handler that threw.
    public internal(set) var threw = 0
    /// The calls of the handler that exceeded the time limit.
    public internal(set) var timedOut = 0
    /// The handlers that had not returned at the limit of the stop. The consumer released their messages.
    public internal(set) var unfinished = 0

    /// The prefetched messages that reached no handler: their link was lost, or the sender had settled them.
    public internal(set) var dropped = 0
    /// The decisions of the last link that the library had not written when it ended: these messages return to their
    /// source.
    public internal(set) var settlementsNotWritten = 0
    /// The decisions of the last link that the library wrote, but that the peer may not have read.
    public internal(set) var settlementsInDoubt = 0

    /// The settled messages: accepted, rejected, or decided by the application.
    public var done: Int { self.accepted + self.rejected + self.byApplication }
}

extension AMQPConsumerResult: CustomStringConvertible {
    /// The nonzero counts, in one line.
    public var description: String {
        let fates = [
            (self.accepted, "accepted"), (self.failed, "failed"), (self.rejected, "rejected"),
            (self.released, "released"), (self.byApplication, "decided by the application"), (self.stale, "stale"),
            (self.inProgress, "in progress"),
        ]
        let calls = [
            (self.retried, "again in place"), (self.threw, "threw"), (self.timedOut, "timed out"),
            (self.unfinished, "unfinished"),
        ]
        let rest = [
            (self.dropped, "dropped"), (self.settlementsNotWritten, "settlements not written"),
            (self.settlementsInDoubt, "settlements in doubt"),
        ]
        let groups = [
            Self.group(self.received.counted("message", "messages"), fates),
            Self.group(self.handled.counted("call", "calls"), calls), Self.group(nil, rest),
        ]
        return groups.compactMap(\.self).joined(separator: "; ")
    }

    private static func group(_ head: String?, _ parts: [(Int, String)]) -> String? {
        let shown = parts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        guard let head else { return shown.isEmpty ? nil : shown }
        return shown.isEmpty ? head : "\(head): \(shown)"
    }
}
