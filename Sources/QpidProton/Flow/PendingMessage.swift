/// A message that the ledgers have admitted and that has not been handed to Proton yet: a plain value.
struct PendingMessage: Sendable {
    let bytes: SendBytes
    let outcome: OutcomePromise
    /// Where it waits to be sent.
    let lane: SlotKey
    /// The ledger of its link.
    let node: SlotKey
    let isSettled: Bool

    /// What the message counts in the ledgers. An empty one counts too, so that their number is bounded.
    var ledgerBytes: Int { max(1, self.bytes.count) }

    /// Gives up a message that will not be sent, or not to its end. Its ledger bytes are the caller's to release.
    func fail(_ error: AMQPError) {
        self.bytes.done()
        self.outcome.resolve(.failure(error))
    }
}
