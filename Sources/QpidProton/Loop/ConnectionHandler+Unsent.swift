// Decisions that were not written when their link ended.

extension ConnectionHandler {
    /// A receiver that has ended, with decisions in Proton's output or on their way to the socket.
    struct EndingReceiver {
        let unsent: UnsentSettlements
        let unwritten: UnwrittenCounts
    }

    /// Counts decisions about the messages of receivers that have ended.
    func settleEnded(_ settlements: some Sequence<Settlement>) {
        var byReceiver: [SlotKey: [Settlement]] = [:]
        for settlement in settlements { byReceiver[settlement.receiver, default: []].append(settlement) }
        for (key, settlements) in byReceiver { self.endedReceivers[key]?.add(settlements) }
    }

    /// Reports the decisions that were not written, of the receivers of which that is certain now.
    func reportUnsent() {
        guard !self.endingReceivers.isEmpty else { return }
        // No write follows.
        let isOver = self.isDead && self.writes.isIdle
        var open: [EndingReceiver] = []
        for receiver in self.endingReceivers {
            let left = receiver.unwritten.left(self.writes)
            if left == 0 || isOver { receiver.unsent.complete(adding: left) } else { open.append(receiver) }
        }
        self.endingReceivers = open
    }
}
