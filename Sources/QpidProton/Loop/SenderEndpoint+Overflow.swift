extension SenderEndpoint {
    /// Makes room for the first message that waits for it: drops the oldest of this link that have not begun to be sent, or
    /// that message alone when dropping them would not do.
    ///
    /// - Parameter isAgain: It has been tried, and what had been accepted by then has come out of the outbox since.
    func makeRoom(isAgain: Bool) {
        guard let lane = self.lane, let node = self.node else { return }
        let outbox = self.handler.outbox
        while let shortage = outbox.shortage(node) {
            let used = outbox.ledger(node)?.used ?? 0
            guard shortage <= used, let dropped = self.handler.sending.queue.removeOldest(shortage, from: lane) else {
                guard !isAgain else { return outbox.dropFirst(node, self.status) }
                outbox.post(.sender(self.status, .makeRoom(isAgain: true)))
                return
            }
            let bytes = dropped.reduce(0) { $0 + $1.ledgerBytes + lane.dropParts(of: $1) }
            self.status.drop(dropped.count, bytes: bytes)
            for message in dropped {
                self.handler.choices.drop(of: message)
                message.fail(.droppedForNewer)
            }
            // Others may have come behind it while a message passed in parts.
            if outbox.replace(bytes, node) { return self.makeRoom(isAgain: false) }
        }
        // A drain may have waited for what was dropped.
        self.answerDrain()
        self.noteCause()
    }
}
