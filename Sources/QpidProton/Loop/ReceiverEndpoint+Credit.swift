internal import DequeModule
internal import Synchronization

// Granting credit, by the window, the rate limit and what the connection has room for.

extension ReceiverEndpoint {
    /// The application has taken messages that hold a place until then, or waits for one and has left none untold.
    func taken(_ count: Int) {
        if self.window.outstanding == 0, self.window.policy != .onDemand { self.window.starve() }
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
        self.window.free(count, bytes: bytes)
    }

    /// Takes what was held back, and grants credit.
    func useRoom() {
        if self.isHeldBack { self.receive() }
        self.topUp()
    }

    func grant(_ credit: Int) {
        guard self.isLocallyOpen else { return }
        if self.window.isPaused {
            // Credit granted now would cancel the drain that is under way, or the pause.
            self.pendingCredit += credit
        } else {
            let granted = min(credit, self.unsettledCredit)
            self.pendingCredit += credit - granted
            self.flow(self.window.grant(granted))
            self.note(self.waitsForSettling ? .unsettled : nil)
        }
    }

    /// Grants what the limit of unsettled messages has kept back of credit that is granted by hand.
    private func grantPending() {
        guard self.pendingCredit > 0 else { return }
        guard !self.window.isPaused, self.unsettledCredit > 0 else {
            return self.note(self.waitsForSettling ? .unsettled : nil)
        }
        let credit = self.pendingCredit
        self.pendingCredit = 0
        self.grant(credit)
    }

    /// Not before the peer has attached: see ``ProtonLink/grant(_:)``.
    func topUp() {
        guard self.isAttached else { return }
        guard self.window.policy != .manual else { return self.grantPending() }
        let isIdle =
            self.window.outstanding == 0 && !self.isMidMessage && !self.window.isPaused && self.arrivals.isEmpty
        if isIdle, self.inbox?.hasWaiters == true { self.window.starve() }
        let limit = self.creditLimit
        self.flow(self.pace == nil ? self.window.topUp(limit: limit) : self.pacedTopUp(limit: limit))
        self.promise()
        self.noteCause()
    }

    private func flow(_ credit: Int) {
        guard credit > 0 else { return }
        let withoutIt = self.window.outstanding - credit + (self.isMidMessage ? 1 : 0)
        self.proof.granted(after: self.sequence + UInt64(max(0, withoutIt)), self.handler.writes.next)
        self.link.grant(credit)
        self.status.credit.store(self.window.outstanding, ordering: .relaxed)
        self.learn()
    }

    // MARK: The account

    /// Whether messages give bytes back when they are taken.
    var countsUntaken: Bool { self.window.budget != nil || self.share != nil }

    /// The credit that the connection has room for.
    private var creditLimit: Int {
        let isIdle = self.window.outstanding == 0 && !self.isMidMessage
        let limit = self.share?.credit(isIdle: isIdle, of: &self.handler.receiving.budget) ?? .max
        return min(limit, self.unsettledCredit)
    }

    // MARK: Unsettled messages

    /// The messages that the limit counts, without credit.
    private var unsettledCount: Int { self.unsettled.count + (self.isMidMessage && self.stream == nil ? 1 : 0) }

    /// The credit that the limit of unsettled messages leaves.
    private var unsettledCredit: Int {
        guard self.unsettledLimit.most < .max else { return .max }
        return self.unsettledLimit.credit(unsettled: self.unsettledCount, outstanding: self.window.outstanding)
    }

    /// Whether the receiver would grant credit, and waits for the sender to settle.
    var waitsForSettling: Bool {
        guard self.unsettledLimit.most < .max, self.window.outstanding == 0, !self.window.isPaused,
            self.unsettled.count > self.unsettled.orderedCount
        else { return false }
        let isWanted = self.window.policy == .manual ? self.pendingCredit > 0 : self.window.wantsCredit
        return isWanted && self.unsettledLimit.room(unsettled: self.unsettledCount, outstanding: 0) == 0
    }

    /// Tells the connection what is expected for the credit that is out.
    func promise() {
        self.share?.promise(self.isLocallyOpen ? self.window.outstanding : 0, to: &self.handler.receiving.budget)
    }

    /// Counts what the link holds more, or less.
    func account(_ bytes: Int) {
        guard self.share != nil else { return }
        self.share?.add(bytes, to: &self.handler.receiving.budget)
    }
}
