// SPDX-License-Identifier: Apache-2.0

/// A message that the ledgers have admitted and Proton does not have yet: a plain value.
struct PendingMessage: Sendable {
    let bytes: MessageBytes
    let outcome: OutcomePromise
    /// The lane in which the message waits to be sent.
    let lane: SlotKey
    /// The ledger of the message's link.
    let node: SlotKey
    let isSettled: Bool
    /// Whether the message has options other than the defaults: see ``SendChoices``.
    var hasChoice = false
    /// The number of a message in parts, of which `bytes` are only the first part; 0 for a whole message.
    var stream: UInt32 = 0

    /// The weight of the message in the ledgers. An empty message counts too, so that the number of messages is
    /// bounded.
    var ledgerBytes: Int { max(1, self.bytes.count) }

    /// Fails a message that is unsent, or sent only in part. The caller releases its ledger bytes.
    ///
    /// - Parameter unread: The counts that include the failure until a task reads it.
    func fail(_ error: AMQPError, unread: UnreadFailure? = nil) {
        self.bytes.done()
        self.outcome.fail(error, unread: unread)
    }
}

/// A further part of a message that is created while it is sent: a plain value.
struct StreamPart: Sendable {
    let bytes: MessageBytes
    let lane: SlotKey
    let node: SlotKey
    let stream: UInt32
    let isLast: Bool

    /// The weight of the part in the ledgers.
    var ledgerBytes: Int { max(1, self.bytes.count) }
}
