// SPDX-License-Identifier: Apache-2.0

// An abandoned message stays incomplete in Proton until Proton can send the abort or the detach: see
// ``ProtonDelivery/abort()``.

extension SenderEndpoint {
    /// Whether Proton would frame an abort now.
    ///
    /// Proton's credit is unsigned, so negative credit admits an abort too.
    var mayAbort: Bool { !self.session.isBlocked && self.link.credit != 0 }

    /// Hands the abort of the abandoned message to Proton, if Proton can send it now. Returns whether no abort is left.
    func abortIfPossible() -> Bool {
        guard self.isAborting else { return true }
        guard self.mayAbort else { return false }
        self.abortCurrent()
        // A drain may have waited for the end of the message.
        self.answerDrain()
        return true
    }

    /// Ends the abandoned message of a link that ends on this side. The detach also ends the message, unless the peer
    /// has detached or ended the session. In that case Proton delays no abort. Without an abort it would end the
    /// message as complete.
    func endAborting() {
        guard self.isAborting else { return }
        let isEndedByPeer = self.isEndedByPeer || self.session.session.isRemotelyClosed
        if isEndedByPeer || self.mayAbort { self.abortCurrent() }
        self.state.take(.abort)
        self.handler.sending.hasAborted(self)
    }

    private func abortCurrent() {
        self.state.take(.abort)
        guard let current = self.link.current else { return }
        self.freeTag(of: current)
        current.abort()
        self.session.handedAbort()
    }
}
