internal import NIOCore
internal import Synchronization

// Draining: the peer uses the credit or gives it back. All who ask at the same time share one handshake.

extension ReceiverEndpoint {
    /// A flow of the peer has come.
    func creditCame() {
        self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
        guard !self.isDone, !self.link.isAwaitingDrain else { return }
        let credit = self.link.takeReturnedCredit()
        if self.state.drain.isUnderWay { self.proof.drained() }
        self.perform(self.state.returned(credit))
    }

    private func perform(_ step: DrainStep) {
        switch step {
        case .none: break
        case .request:
            self.proof.drains(self.handler.writes.next)
            self.link.drain()
        case .late(let credit):
            self.pace?.giveBack(credit)
            self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
            self.topUp()
        case .end(let credit): self.endDrain(credit)
        }
    }

    /// Proton holds nothing more of what has come.
    @inline(__always)
    func caughtUp() {
        guard self.state.drain.isUnderWay, !self.isDone else { return }
        self.perform(self.state.caughtUp())
    }

    /// Asks the peer to use all credit or to give it back. The answer is the credit that came back.
    ///
    /// - Parameter timeout: How long the peer has to answer; `operationTimeout` if nil.
    func drain(_ reply: Reply<Int>, timeout: Duration? = nil) {
        guard self.isLocallyOpen else {
            reply.resolve(
                .failure(
                    self.status.endError ?? AMQPError(scope: .link, condition: .closed, detail: "the link is not open")
                )
            )
            return
        }
        self.drains.append(reply)
        let timeout = timeout ?? self.handler.configuration.operationTimeout
        let timer = self.handler.schedule(in: timeout) { [unowned self] in
            let error = AMQPError(condition: .timeout, detail: "the peer did not answer the drain within \(timeout)")
            guard reply.resolve(.failure(error)) else { return }
            self.drains.removeAll { $0 === reply }
            if self.drains.isEmpty { self.giveUpDrain() }
        }
        reply.whenResolved { _ in timer.cancel() }
        self.perform(self.state.requestDrain())
    }

    /// The peer did not answer, and no task waits any more.
    private func giveUpDrain() {
        guard let credit = self.state.giveUpDrain() else { return }
        self.pace?.giveBack(credit)
        self.flushArrived()
        self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
        self.becameQuiet()
        self.reopen(self.state.endDrain())
    }

    /// The peer has answered, and returned so much credit.
    private func endDrain(_ credit: Int) {
        // What came before the answer must be seen before it.
        self.flushArrived()
        let unused = self.state.takeCredit()
        self.pace?.giveBack(unused)
        // Before the answer: whoever waits for it looks.
        self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
        let drains = self.drains
        self.drains = []
        for reply in drains { reply.resolve(.success(credit)) }
        self.becameQuiet()
        self.reopen(self.state.endDrain())
    }

    /// Grants what was withheld, if credit may be granted again.
    func reopen(_ isOpen: Bool) {
        guard isOpen else { return }
        if self.isLocallyOpen, self.state.withheldCredit > 0 { self.grantWithheld() }
        self.topUp()
    }

    // MARK: Waits with a timeout

    /// Ends the wait of a `receive(timeout:)` when its time is over: with a drain, so that no message can be on its way.
    func limitWait(_ id: UInt64, _ timeout: Duration) {
        guard self.isLocallyOpen else { return }
        self.timeouts.removeAll { self.inbox?.isWaiting($0.id) != true }
        self.timeouts.append((id, self.handler.deadline(in: timeout)))
        self.grantForTimeout()
        self.scheduleTimeouts()
    }

    /// With credit by hand, a wait with a timeout needs one.
    func grantForTimeout() {
        guard self.state.window.policy == .manual, !self.timeouts.isEmpty, self.state.purpose == .receiving else {
            return
        }
        if self.state.window.outstanding == 0, self.state.withheldCredit == 0 { self.grant(1) }
    }

    private func scheduleTimeouts() {
        self.timeoutTimer?.cancel()
        self.timeoutTimer = nil
        guard self.isLocallyOpen, let next = self.timeouts.map(\.deadline).min() else { return }
        self.timeoutTimer = self.handler.schedule(at: next) { [unowned self] in
            let now = self.handler.eventLoop.now
            let due = self.timeouts.filter { $0.deadline <= now && self.inbox?.isWaiting($0.id) == true }
            self.timeouts.removeAll { $0.deadline <= now }
            for wait in due { self.endWaitByDrain(wait.id) }
            self.scheduleTimeouts()
        }
    }

    private func endWaitByDrain(_ id: UInt64) {
        let reply = Reply<Int>()
        reply.whenResolved { [inbox = self.inbox] answer in
            switch answer {
            case .success: inbox?.endWait(id, .success(nil))
            case .failure(let error): inbox?.endWait(id, .failure(error))
            }
        }
        self.drain(reply)
    }
}
