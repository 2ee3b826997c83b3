// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// Grants of credit by the window, the rate limit and the connection's memory.

extension ReceiverEndpoint {
    /// Handles a report of the inbox: tasks have received this number of messages, whose places are free now. A task
    /// that starts to wait reports too, even without a further receipt.
    func taken(_ count: Int) {
        if self.state.window.outstanding == 0, self.state.window.policy != .onDemand { self.state.starve() }
        self.returnPlaces(count, bytes: self.account.take(count))
        self.tune()
        self.useRoom()
    }

    /// Frees the places of messages, then receives messages and grants credit for the new room.
    func free(_ count: Int, bytes: Int) {
        self.returnPlaces(count, bytes: bytes)
        self.useRoom()
    }

    func returnPlaces(_ count: Int, bytes: Int) {
        self.steps &+= 1
        self.account.add(-bytes, of: self)
        self.state.free(count, bytes: bytes)
    }

    /// Receives messages left in Proton, and grants credit.
    func useRoom() {
        if self.state.message.isHeldBack { self.receive() }
        self.topUp()
    }

    /// Grants manual credit.
    func grant(_ credit: Int) {
        guard self.isLocallyOpen else { return }
        self.advertise(self.state.grant(credit, unsettled: self.dispositions.queue.count))
        if !self.state.window.isPaused { self.note(self.waitsForSettling ? .unsettled : nil) }
    }

    /// Grants withheld manual credit.
    func grantWithheld() {
        guard self.state.withheldCredit > 0 else { return }
        self.advertise(self.state.grantWithheld(unsettled: self.dispositions.queue.count))
        self.note(self.waitsForSettling ? .unsettled : nil)
    }

    /// Renews the credit, once the peer has attached: see ``ProtonLink/grant(_:)``.
    func topUp() {
        guard self.isAttached else { return }
        guard self.state.window.policy != .manual else { return self.grantWithheld() }
        let isIdle = self.state.isIdle && !self.state.window.isPaused && self.arrivals.isEmpty
        if isIdle, self.inbox?.hasWaiters == true { self.state.starve() }
        self.advertise(self.account.renew(&self.state, unsettled: self.dispositions.queue.count, of: self))
        self.promise()
        self.note(AMQPBlockCause(of: self))
    }

    private func advertise(_ credit: Int) {
        guard credit > 0 else { return }
        let withoutIt = self.state.window.outstanding - credit + (self.state.message.hasBegun ? 1 : 0)
        self.dispositions.proof.granted(after: self.sequence + UInt64(max(0, withoutIt)), self.handler.writes.next)
        self.link.grant(credit)
        self.showCredit()
        self.tune()
    }

    /// Publishes the peer's credit to tasks.
    @inline(__always)
    func showCredit() { self.status.credit.store(self.state.window.outstanding, ordering: .relaxed) }

    /// Tunes an automatic window, once for all messages that arrived or returned together.
    ///
    /// - Parameter time: The time; now if `nil`.
    func tune(at time: Int64? = nil) {
        guard self.state.window.isAutomatic else { return }
        self.state.tune(at: time ?? self.handler.nanoseconds)
        if self.account.share == nil, let count = self.state.window.tunedSize {
            self.inbox?.setReportEvery(max(1, min(count / 4, 64)))
        }
    }

    /// Whether the receiver withholds credit because it waits for the sender to settle.
    var waitsForSettling: Bool {
        let queue = (unsettled: self.dispositions.queue.count, undecided: self.dispositions.queue.orderedCount)
        return self.state.waitsForSettling(unsettled: queue.unsettled, undecided: queue.undecided)
    }

    /// Reports the bytes expected for outstanding credit to the connection.
    func promise() {
        guard self.account.share != nil else { return }
        self.account.promise(self.isLocallyOpen ? self.state.window.outstanding : 0, of: self)
    }

    /// Sets or removes the rate limit from now on.
    func setRate(_ limit: AMQPRateLimit?) {
        guard !self.isDone else { return }
        self.account.setRate(limit, at: self.handler.nanoseconds)
        self.topUp()
    }
}
