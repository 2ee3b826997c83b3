// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension SenderEndpoint {
    /// Publishes the cause that blocks the lane, if it has changed, so that tasks can read it without the loop.
    func noteCause() {
        guard let state = self.lane?.state else { return }
        var cause = state.cause
        // The next message waits for credit, unless the bytes of earlier messages wait for the socket.
        if state.isEmpty, state.credit == 0, let node = self.node, self.handler.outbox.ledger(node)?.used == 0 {
            cause = .credit
        }
        self.note(state.isEmpty ? nil : cause.blockCause)
        guard cause != self.status.cause.load(ordering: .relaxed) else { return }
        self.status.cause.store(cause, ordering: .relaxed)
    }
}
