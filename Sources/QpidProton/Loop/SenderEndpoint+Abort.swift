// A message that was given up stays unfinished in Proton until the abort can leave, or the detach ends it as well: see
// ``ProtonDelivery/abort()``.

extension SenderEndpoint {
    /// Whether Proton would frame an abort now.
    ///
    /// It counts credit without a sign.
    var mayAbort: Bool { !self.session.isBlocked && self.link.credit != 0 }

    /// Tells Proton of the message that was given up, if the peer can be told now. Returns whether nothing is left to be told.
    func abortIfPossible() -> Bool {
        guard self.isAborting else { return true }
        guard self.mayAbort else { return false }
        self.abortCurrent()
        // A drain may have waited for the end of the message.
        self.answerDrain()
        return true
    }

    /// The link ends on this side. The detach is the end of the message too, but not where the peer has detached or ended the
    /// session: there no abort holds it up, and without one Proton would end the message as if it were whole.
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
