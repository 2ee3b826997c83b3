public import NIOCore

/// How a connection, session or link closed, and what it left unfinished.
///
/// It lists the links that ended while a close of the connection, session or link ran. Every later close of the same thing
/// returns the same list. Links that had ended before are not listed: their trackers and the log have what they left.
///
/// Several tasks can close the same thing. The shortest of their limits counts for all of them.
public struct AMQPCloseResult: Sendable {
    /// Why the close was not orderly: the peer's error, the lack of its answer, a loss, or the cancellation of the task.
    ///
    /// `nil` after an orderly close, which the peer has answered.
    public let error: AMQPError?
    /// The links that left something unfinished, senders first.
    public let unfinished: [AMQPUnfinished]

    init(error: AMQPError?, unfinished: [AMQPUnfinished] = []) {
        self.error = error
        self.unfinished = unfinished.filter { !$0.isEmpty }
    }

    /// The number of messages that were accepted and not sent.
    public var notSent: Int { self.unfinished.reduce(0) { $0 + $1.notSent.count } }
    /// The number of messages that were sent and not settled.
    public var inDoubt: Int { self.unfinished.reduce(0) { $0 + $1.inDoubt.count } }
    /// The number of decisions about received messages that were not written to the socket.
    public var settlementsNotWritten: Int { self.unfinished.reduce(0) { $0 + $1.settlementsNotWritten } }
    /// The number of decisions that were written, and that the peer may not have read.
    public var settlementsInDoubt: Int { self.unfinished.reduce(0) { $0 + $1.settlementsInDoubt } }
    /// The number of received messages that the application took and did not settle.
    public var deliveriesNotSettled: Int { self.unfinished.reduce(0) { $0 + $1.deliveriesNotSettled } }

    /// Whether the close was orderly and left nothing unfinished.
    public var isComplete: Bool { self.error == nil && self.unfinished.isEmpty }
}

/// What one link left unfinished when it closed.
public struct AMQPUnfinished: Sendable {
    /// A message that was accepted and not sent.
    public struct Unsent: Sendable {
        /// The encoded message: see ``AMQPMessage/init(decoding:limits:)`` and ``AMQPSender/enqueue(encoded:settled:options:)``.
        public let payload: ByteBuffer
        /// The delivery-tag and message-format that were chosen for it.
        public let options: AMQPSendOptions
        /// Its tracker, which has failed.
        public let tracker: AMQPTracker
    }

    /// The name of the link.
    public let linkName: String
    /// The address of a sender's target or of a receiver's source.
    public let address: String?
    /// On a sender, the messages that the peer has not received, in order. A message that had begun to leave is the first: its
    /// fate is ``AMQPError/Fate/aborted``, and that of the others ``AMQPError/Fate/notSent``.
    public internal(set) var notSent: [Unsent] = []
    /// On a sender, the trackers of the messages that were sent and not settled.
    ///
    /// They have failed with the fate ``AMQPError/Fate/inDoubt``: the peer may have the messages.
    public internal(set) var inDoubt: [AMQPTracker] = []
    /// On a receiver, the number of decisions that were not written to the socket: these messages go back to their source.
    ///
    /// A decision counts as written when the socket has taken the whole write that carries it. It counts here too if the
    /// application made it after the end of the link.
    public internal(set) var settlementsNotWritten = 0
    /// On a receiver, the number of decisions that were written, and of which nothing proves that the peer has read them.
    ///
    /// Its answer to the close is the proof. So are its answer to a drain, and messages for credit that was granted after a
    /// decision. With ``AMQPReceiverSettleMode/second``, only the sender's settlement is.
    public internal(set) var settlementsInDoubt = 0
    /// On a receiver, the number of messages that the application took and did not settle: they go back to their source.
    public internal(set) var deliveriesNotSettled = 0

    init(linkName: String, address: String?) {
        self.linkName = linkName
        self.address = address
    }

    /// Whether the link left nothing unfinished.
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

/// The numbers of a link, or of all links.
private struct UnfinishedCounts {
    let notSent, inDoubt, settlementsNotWritten, settlementsInDoubt, deliveriesNotSettled: Int

    /// Nil where nothing was left unfinished.
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
    /// The link and its numbers.
    public var description: String {
        let node = self.address.map { " (\($0.debugDescription))" } ?? ""
        return "link \(self.linkName)\(node): \(self.counts.text ?? "nothing")"
    }
}

extension AMQPCloseResult: CustomStringConvertible {
    /// One line: what was left unfinished, and why the close was not orderly.
    public var description: String {
        let parts = [self.summary, self.error?.description].compactMap(\.self)
        return parts.isEmpty ? "closed, nothing unfinished" : parts.joined(separator: ": ")
    }

    /// The numbers of all links; nil where nothing was left unfinished.
    var summary: String? {
        UnfinishedCounts(
            notSent: self.notSent,
            inDoubt: self.inDoubt,
            settlementsNotWritten: self.settlementsNotWritten,
            settlementsInDoubt: self.settlementsInDoubt,
            deliveriesNotSettled: self.deliveriesNotSettled
        ).text
    }
}
