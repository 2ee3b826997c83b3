// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The result of closing a connection, session or link, with its unfinished work.
///
/// The result lists the links that ended while a close of the connection, session or link ran. Every later close of the
/// same object returns the same list. Late decisions move deliveries from one number to another. For links that had
/// ended before, the result counts the messages whose outcome no task has read.
///
/// Several tasks can close the same object. The shortest of their limits counts for all of them.
public struct AMQPCloseResult: Sendable {
    /// The reason why the close was not orderly: the peer's error, a missing answer, a loss, or the cancellation of the
    /// task.
    ///
    /// `nil` after an orderly close, which the peer has answered.
    public let error: AMQPError?
    /// The links that have unfinished work, senders first.
    public let unfinished: [AMQPUnfinished]

    /// The number of messages that were not sent because their link ended before the close, and whose outcome no task
    /// has read.
    public let notSentBefore: Int
    /// The number of messages that are in doubt because their link ended before the close, and whose outcome no task
    /// has read.
    public let inDoubtBefore: Int
    /// Whether the limit ended the work.
    let isLate: Bool

    init(
        error: AMQPError?,
        unfinished: [AMQPUnfinished] = [],
        notSentBefore: Int = 0,
        inDoubtBefore: Int = 0,
        isLate: Bool = false
    ) {
        self.error = error
        self.unfinished = unfinished.filter { !$0.isEmpty }
        self.notSentBefore = notSentBefore
        self.inDoubtBefore = inDoubtBefore
        self.isLate = isLate
    }

    /// The number of messages that were accepted and not sent.
    public var notSent: Int { self.unfinished.reduce(0) { $0 + $1.notSent.count } }
    /// The number of messages that were sent and not settled.
    public var inDoubt: Int { self.unfinished.reduce(0) { $0 + $1.inDoubt.count } }
    /// The number of decisions about received messages that were not written to the socket.
    public var settlementsNotWritten: Int { self.unfinished.reduce(0) { $0 + $1.settlementsNotWritten } }
    /// The number of decisions that were written, but that the peer may not have read.
    public var settlementsInDoubt: Int { self.unfinished.reduce(0) { $0 + $1.settlementsInDoubt } }
    /// The number of received messages that the application did not settle.
    public var deliveriesNotSettled: Int { self.unfinished.reduce(0) { $0 + $1.deliveriesNotSettled } }

    /// Whether the close was orderly, and no message and no settlement was lost.
    public var isComplete: Bool {
        self.error == nil && self.unfinished.isEmpty && self.notSentBefore + self.inDoubtBefore == 0
    }
}

/// The unfinished work of one link when it closed.
public struct AMQPUnfinished: Sendable {
    /// A message that was accepted and not sent.
    public struct Unsent: Sendable {
        /// The encoded message: see ``AMQPMessage/init(decoding:limits:)`` and
        /// ``AMQPSender/enqueue(encoded:settled:options:)``.
        public let payload: ByteBuffer
        /// The delivery-tag and message-format that the application chose for the message.
        public let options: AMQPSendOptions
        /// The tracker of the message, which has failed.
        public let tracker: AMQPTracker
    }

    /// The name of the link.
    public let linkName: String
    /// The address of a sender's target or of a receiver's source.
    public let address: String?
    /// On a sender, the messages that the peer has not received, in order.
    ///
    /// If a message was sent in part, it is the first, with the fate ``AMQPError/Fate/aborted``. The fate of the other
    /// messages is ``AMQPError/Fate/notSent``.
    public internal(set) var notSent: [Unsent] = []
    /// On a sender, the trackers of the messages that were sent and not settled.
    ///
    /// The trackers have failed with the fate ``AMQPError/Fate/inDoubt``: the peer may have received the messages.
    public internal(set) var inDoubt: [AMQPTracker] = []
    /// On a receiver, the number of decisions that were not written to the socket: these messages return to their
    /// source.
    ///
    /// A decision counts as written when the socket has accepted its whole write. A decision that the
    /// application made after the end of the link counts here too.
    public internal(set) var settlementsNotWritten = 0
    /// On a receiver, the number of decisions that were written, but that the peer may not have read.
    ///
    /// The peer's answer to the close proves that it has read the decisions. Its answer to a drain proves the same.
    /// Messages for credit that was granted after a decision prove it too. With ``AMQPReceiverSettleMode/second``, only
    /// the sender's settlement is proof.
    public internal(set) var settlementsInDoubt = 0
    /// On a receiver, the number of delivered messages that the application did not settle: these messages return to
    /// their source.
    public internal(set) var deliveriesNotSettled = 0

    init(linkName: String, address: String?) {
        self.linkName = linkName
        self.address = address
    }

    /// Whether the link left no unfinished work.
    public var isEmpty: Bool { self.counts.text == nil }

    fileprivate var counts: UnfinishedCounts {
        UnfinishedCounts(
            notSent: self.notSent.count,
            inDoubt: self.inDoubt.count,
            settlementsNotWritten: self.settlementsNotWritten,
            settlementsInDoubt: self.settlementsInDoubt,
            deliveriesNotSettled: self.deliveriesNotSettled
        )
    }
}

/// The counts of unfinished work of a link, or of all links.
private struct UnfinishedCounts {
    var notSent = 0
    var inDoubt = 0
    var settlementsNotWritten = 0
    var settlementsInDoubt = 0
    var deliveriesNotSettled = 0

    /// The counts in words; `nil` if all are 0.
    var text: String? {
        let parts = [
            (self.notSent, self.notSent.counted("message", "messages") + " not sent"),
            (self.inDoubt, self.inDoubt.counted("message", "messages") + " in doubt"),
            (
                self.settlementsNotWritten,
                self.settlementsNotWritten.counted("settlement", "settlements") + " not written"
            ),
            (self.settlementsInDoubt, self.settlementsInDoubt.counted("settlement", "settlements") + " in doubt"),
            (self.deliveriesNotSettled, self.deliveriesNotSettled.counted("delivery", "deliveries") + " not settled"),
        ].filter { $0.0 > 0 }.map(\.1)
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}

extension AMQPUnfinished: CustomStringConvertible {
    /// The link, and the counts of its unfinished work.
    public var description: String {
        let node = self.address.map { " (\($0.debugDescription))" } ?? ""
        return "link \(self.linkName)\(node): \(self.counts.text ?? "nothing")"
    }
}

extension AMQPCloseResult: CustomStringConvertible {
    /// One line: the unfinished work, and the reason why the close was not orderly.
    public var description: String {
        let parts = [self.summary, self.error?.description].compactMap(\.self)
        return parts.isEmpty ? "closed, nothing unfinished" : parts.joined(separator: ": ")
    }

    /// The counts of all links in words; `nil` if all are 0.
    var summary: String? {
        let now = UnfinishedCounts(
            notSent: self.notSent,
            inDoubt: self.inDoubt,
            settlementsNotWritten: self.settlementsNotWritten,
            settlementsInDoubt: self.settlementsInDoubt,
            deliveriesNotSettled: self.deliveriesNotSettled
        ).text
        let before = UnfinishedCounts(notSent: self.notSentBefore, inDoubt: self.inDoubtBefore).text
        let parts = [now, before.map { "\($0) when a link ended before" }].compactMap(\.self)
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}

extension AMQPUnfinished.Unsent: CustomStringConvertible {
    /// The size of the message, and its options if there are any.
    public var description: String {
        let size = "message of \(AMQPByteCount(self.payload.readableBytes))"
        return self.options == AMQPSendOptions() ? size : "\(size), \(self.options)"
    }
}
