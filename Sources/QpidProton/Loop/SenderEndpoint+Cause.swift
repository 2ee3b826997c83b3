internal import Synchronization

extension SenderEndpoint {
    /// Tells tasks what keeps the lane from moving, if that has changed: they must not need the loop to learn it.
    func noteCause() {
        guard let state = self.lane?.state else { return }
        var cause = state.cause
        // The next message waits for credit, unless the bytes of earlier ones wait for the socket.
        if state.isEmpty, state.credit == 0, let node = self.node, self.handler.outbox.ledger(node)?.used == 0 {
            cause = .credit
        }
        self.note(state.isEmpty ? nil : cause.blockCause)
        guard cause != self.status.cause.load(ordering: .relaxed) else { return }
        self.status.cause.store(cause, ordering: .relaxed)
    }
}
