// SPDX-License-Identifier: Apache-2.0

extension SenderEndpoint {
    /// Makes room for the first waiting message. Drops the oldest messages of this link that have not started. If these
    /// would not suffice, drops the waiting message alone.
    ///
    /// - Parameter isAgain: Whether this is the second attempt, after earlier accepted messages have left the outbox.
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
            // Other messages may have started to wait behind the admitted one.
            if outbox.replace(bytes, node) { return self.makeRoom(isAgain: false) }
        }
        // A drain may have waited for the dropped messages.
        self.answerDrain()
        self.noteCause()
    }
}
