internal import NIOCore
internal import Synchronization

// Pausing, and the end in three steps: stop, settle, detach.

extension ReceiverEndpoint {
    /// A close that waits until the application has settled what it holds.
    struct Stopping {
        var replies: [() -> Void] = []
        var timer: LoopTimer?
        /// What nobody gets any more, in order. It is given back when nothing more comes: the peer could send it once more
        /// for the credit that is left.
        var setAside: [SlotKey] = []
    }

    // MARK: Pausing

    /// Keeps all credit back, and has the peer give back what it has. The answer means that nothing is on its way.
    func pause(_ reply: Reply<Int>) {
        if self.isLocallyOpen {
            self.tellAll()
            self.state.pause()
            self.status.isPaused.store(true, ordering: .relaxed)
        }
        self.drain(reply)
    }

    func resume() {
        guard !self.state.purpose.isStopping else { return }
        let isOpen = self.state.resume()
        self.status.isPaused.store(false, ordering: .relaxed)
        guard self.isLocallyOpen else { return }
        self.reopen(isOpen)
        self.grantForTimeout()
    }

    // MARK: Stopping

    /// Pauses, waits until the application has settled what it holds, and closes the link.
    ///
    /// - Parameters:
    ///   - limit: How long to wait for the application.
    ///   - done: Called when the link has ended on this side.
    func stop(for limit: Duration, _ done: @escaping () -> Void) {
        guard self.isLocallyOpen, self.key != nil else { return done() }
        let isFirst = self.state.stop()
        if isFirst { self.stopping = Stopping() }
        self.stopping?.replies.append(done)
        if isFirst { self.setAsideUntaken() }
        guard limit > .zero else { return self.close(nil) }
        let timer = self.handler.schedule(in: limit) { [unowned self] in self.close(nil) }
        self.stopping?.timer?.cancel()
        self.stopping?.timer = timer
        guard isFirst else { return self.closeIfSettled() }
        self.pause(Reply())
    }

    private func setAsideUntaken() {
        self.stopping?.setAside += self.inbox?.removeUnsettled { self.unsettled[$0] != nil } ?? []
    }

    /// Sets aside what has arrived. Messages that the sender has settled cannot be given back: they are kept, to be taken still.
    func setAside(_ batch: Arrivals.Batch) {
        var batch = batch
        self.stopping?.setAside += batch.removeUnsettled { self.unsettled[$0] != nil }
        self.inbox?.push(batch)
    }

    /// Nothing more comes, or the peer does not say so in time.
    func becameQuiet() {
        guard self.state.becomeQuiet() else { return }
        self.releaseSetAside()
        self.closeIfSettled()
    }

    func releaseSetAside() {
        let slots = self.stopping?.setAside ?? []
        self.stopping?.setAside = []
        for slot in slots { self.release(slot) }
    }

    /// Closes the link if the application holds nothing any more that it could settle.
    func closeIfSettled() {
        guard self.state.purpose == .stopped, self.isLocallyOpen, self.unsettled.orderedCount == 0 else { return }
        self.close(nil)
    }

    /// The link ends: the closes that waited for the application go on.
    func endStopping() {
        guard let stopping = self.stopping else { return }
        stopping.timer?.cancel()
        self.stopping?.replies = []
        for reply in stopping.replies { reply() }
    }
}
