// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

extension SenderEndpoint {
    /// Accepts no further messages, sends the waiting messages, and closes the link when all are settled or the time is
    /// over.
    ///
    /// - Parameter done: Called when the link has ended on this side.
    func flush(for limit: Duration, _ done: @escaping () -> Void) {
        guard self.lane != nil, let node = self.node, self.isLocallyOpen else { return done() }
        self.flushes.append(done)
        self.handler.outbox.closeLevel(node, .senderClosed)
        guard limit > .zero else { return self.close(nil) }
        let timer = LoopTimer(of: self.handler, in: limit) { self.close(nil) }
        self.flushes.append { timer.cancel() }
        if self.state.take(.flush) { self.handler.sending.closeWhenFlushed(self) }
    }

    /// Closes the link if its work is done. Returns whether the link is closed.
    func closeIfFlushed() -> Bool {
        guard let lane = self.lane, let node = self.node, self.isLocallyOpen else { return true }
        // An abandoned message ends with the link.
        let unsettled = self.link.unsettledCount - (self.isAborting ? 1 : 0)
        guard lane.isEmpty, unsettled == 0, self.handler.outbox.ledger(node) == nil else { return false }
        self.close(nil)
        return true
    }
}

extension SessionEndpoint {
    var senders: [SenderEndpoint] { self.links.values.compactMap { $0 as? SenderEndpoint } }
}
