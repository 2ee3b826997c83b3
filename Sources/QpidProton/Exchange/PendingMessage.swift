/// A message that the ledgers have admitted and that has not been handed to Proton yet: a plain value.
struct PendingMessage: Sendable {
    let bytes: MessageBytes
    let outcome: OutcomePromise
    /// Where it waits to be sent.
    let lane: SlotKey
    /// The ledger of its link.
    let node: SlotKey
    let isSettled: Bool
    /// A tag or a format was chosen for it: see ``SendChoices``.
    var hasChoice = false
    /// The number of a message whose bytes are its beginning alone, with parts that follow; 0 for a whole one.
    var stream: UInt32 = 0

    /// What the message counts in the ledgers. An empty one counts too, so that their number is bounded.
    var ledgerBytes: Int { max(1, self.bytes.count) }

    /// Gives up a message that will not be sent, or not to its end. Its ledger bytes are the caller's to release.
    ///
    /// - Parameter unread: Where the failure is counted until it is read.
    func fail(_ error: AMQPError, unread: UnreadFailure? = nil) {
        self.bytes.done()
        self.outcome.fail(error, unread: unread)
    }
}

/// A further part of a message that is made while it is sent: a plain value.
struct StreamPart: Sendable {
    let bytes: MessageBytes
    let lane: SlotKey
    let node: SlotKey
    let stream: UInt32
    let isLast: Bool

    /// What the part counts in the ledgers.
    var ledgerBytes: Int { max(1, self.bytes.count) }
}
