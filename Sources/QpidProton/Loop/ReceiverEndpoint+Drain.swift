internal import NIOCore
internal import Synchronization

// Draining: the peer uses the credit or gives it back. All who ask at the same time share one handshake.

extension ReceiverEndpoint {
    /// A flow of the peer has come.
    func creditCame() {
        self.status.credit.store(self.window.outstanding, ordering: .relaxed)
        guard !self.isDone, !self.link.isAwaitingDrain else { return }
        let credit = self.link.takeReturnedCredit()
        if self.isDraining {
            self.proof.drained()
            self.answerDrains(credit)
        } else if credit > 0 {
            // The answer to a drain that nobody waits for any more.
            self.window.giveBack(credit)
            self.pace?.giveBack(credit)
            self.status.credit.store(self.window.outstanding, ordering: .relaxed)
            self.topUp()
        }
    }

    /// The peer has answered. A message that has begun is on its way still, and comes before the answer.
    private func answerDrains(_ credit: Int) {
        if self.isMidMessage {
            self.creditBack = (self.creditBack ?? 0) + credit
        } else {
            self.finishDrain((self.creditBack ?? 0) + credit)
        }
    }

    /// The last message that was on its way has come, behind the peer's answer or with the last credit: a peer that has none
    /// left to give back need not answer.
    func finishDrainIfUsedUp() {
        // Without a message that has begun nothing is left in Proton.
        guard self.isDraining, !self.isDone, !self.isMidMessage else { return }
        if let credit = self.creditBack ?? (self.window.outstanding == 0 ? 0 : nil) { self.finishDrain(credit) }
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
            if self.drains.isEmpty { self.finishDrain(nil) }
        }
        reply.whenResolved { _ in timer.cancel() }
        guard !self.isDraining else { return }
        self.isDraining = true
        self.window.pause()
        guard self.window.outstanding > 0 else { return self.answerDrains(0) }
        self.proof.drains(self.handler.writes.next)
        self.link.drain()
    }

    /// Ends the handshake.
    ///
    /// - Parameter credit: What the peer has given back; nil when it did not answer and nobody waits any more.
    private func finishDrain(_ credit: Int?) {
        guard self.isDraining else { return }
        self.isDraining = false
        // A drain that is given up while a message arrives may have been answered.
        if credit == nil {
            self.window.giveBack(self.creditBack ?? 0)
            self.pace?.giveBack(self.creditBack ?? 0)
        }
        self.creditBack = nil
        // What came before the answer must be seen before it.
        self.flushArrived()
        if credit != nil {
            self.pace?.giveBack(self.window.outstanding)
            self.window.drained()
        }
        // Before the answer: whoever waits for it looks.
        self.status.credit.store(self.window.outstanding, ordering: .relaxed)
        if let credit {
            let drains = self.drains
            self.drains = []
            for reply in drains { reply.resolve(.success(credit)) }
        }
        self.becameQuiet()
        self.grantAgain()
    }

    /// Grants what was kept back, unless the receiver is paused or a drain is under way.
    func grantAgain() {
        guard !self.isPausedHere, !self.isDraining else { return }
        self.window.resume()
        let pendingCredit = self.pendingCredit
        self.pendingCredit = 0
        if pendingCredit > 0 { self.grant(pendingCredit) }
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
        guard self.window.policy == .manual, !self.timeouts.isEmpty, !self.isPausedHere else { return }
        if self.window.outstanding == 0, self.pendingCredit == 0 { self.grant(1) }
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
