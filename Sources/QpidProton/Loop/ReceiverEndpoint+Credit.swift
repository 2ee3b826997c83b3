internal import DequeModule
internal import Synchronization

// Granting credit, by the window, the rate limit and what the connection has room for.

extension ReceiverEndpoint {
    /// The application has taken messages that hold a place until then, or waits for one and has left none untold.
    func taken(_ count: Int) {
        if self.state.window.outstanding == 0, self.state.window.policy != .onDemand { self.state.starve() }
        var bytes = 0
        for _ in 0..<count { bytes += self.untaken.popFirst() ?? 0 }
        self.giveBack(count, bytes: bytes)
        self.learn()
        self.useRoom()
    }

    /// Messages have given their places back.
    func free(_ count: Int, bytes: Int) {
        self.giveBack(count, bytes: bytes)
        self.useRoom()
    }

    func giveBack(_ count: Int, bytes: Int) {
        self.steps &+= 1
        self.account(-bytes)
        self.state.free(count, bytes: bytes)
    }

    /// Takes what was held back, and grants credit.
    func useRoom() {
        if self.state.message.isHeldBack { self.receive() }
        self.topUp()
    }

    func grant(_ credit: Int) {
        guard self.isLocallyOpen else { return }
        self.flow(self.state.grant(credit, unsettled: self.unsettled.count))
        if !self.state.window.isPaused { self.note(self.waitsForSettling ? .unsettled : nil) }
    }

    /// Grants what the limit of unsettled messages has kept back of credit that is granted by hand.
    func grantWithheld() {
        guard self.state.withheldCredit > 0 else { return }
        self.flow(self.state.grantWithheld(unsettled: self.unsettled.count))
        self.note(self.waitsForSettling ? .unsettled : nil)
    }

    /// Not before the peer has attached: see ``ProtonLink/grant(_:)``.
    func topUp() {
        guard self.isAttached else { return }
        guard self.state.window.policy != .manual else { return self.grantWithheld() }
        let isIdle = self.state.isIdle && !self.state.window.isPaused && self.arrivals.isEmpty
        if isIdle, self.inbox?.hasWaiters == true { self.state.starve() }
        let limit = self.creditLimit
        self.flow(self.pace == nil ? self.state.topUp(limit: limit) : self.pacedTopUp(limit: limit))
        self.promise()
        self.noteCause()
    }

    private func flow(_ credit: Int) {
        guard credit > 0 else { return }
        let withoutIt = self.state.window.outstanding - credit + (self.state.message.hasBegun ? 1 : 0)
        self.proof.granted(after: self.sequence + UInt64(max(0, withoutIt)), self.handler.writes.next)
        self.link.grant(credit)
        self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
        self.learn()
    }

    // MARK: The account

    /// Whether messages give bytes back when they are taken.
    var countsUntaken: Bool { self.state.window.budget != nil || self.share != nil }

    /// The credit that the connection has room for.
    private var creditLimit: Int {
        let limit = self.share?.credit(isIdle: self.state.isIdle, of: &self.handler.receiving.budget) ?? .max
        return min(limit, self.state.unsettledCredit(self.unsettled.count))
    }

    /// Whether the receiver would grant credit, and waits for the sender to settle.
    var waitsForSettling: Bool {
        self.state.waitsForSettling(unsettled: self.unsettled.count, undecided: self.unsettled.orderedCount)
    }

    /// Tells the connection what is expected for the credit that is out.
    func promise() {
        self.share?.promise(self.isLocallyOpen ? self.state.window.outstanding : 0, to: &self.handler.receiving.budget)
    }

    /// Counts what the link holds more, or less.
    func account(_ bytes: Int) {
        guard self.share != nil else { return }
        self.share?.add(bytes, to: &self.handler.receiving.budget)
    }
}
