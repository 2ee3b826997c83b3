internal import DequeModule
internal import NIOCore
internal import Synchronization

// Granting credit, by the window, the rate limit and what the connection has room for.

extension ReceiverEndpoint {
    /// The application has taken messages that hold a place until then, or waits for one and has left none unreported.
    func taken(_ count: Int) {
        if self.state.window.outstanding == 0, self.state.window.policy != .onDemand { self.state.starve() }
        var bytes = 0
        for _ in 0..<count { bytes += self.untaken.popFirst() ?? 0 }
        self.returnPlaces(count, bytes: bytes)
        self.tune()
        self.useRoom()
    }

    /// Messages have returned their places: receives and grants what that leaves room for.
    func free(_ count: Int, bytes: Int) {
        self.returnPlaces(count, bytes: bytes)
        self.useRoom()
    }

    func returnPlaces(_ count: Int, bytes: Int) {
        self.steps &+= 1
        self.account(-bytes)
        self.state.free(count, bytes: bytes)
    }

    /// Takes what was held back, and grants credit.
    func useRoom() {
        if self.state.message.isHeldBack { self.receive() }
        self.topUp()
    }

    /// Grants credit by hand.
    func grant(_ credit: Int) {
        guard self.isLocallyOpen else { return }
        self.advertise(self.state.grant(credit, unsettled: self.dispositions.queue.count))
        if !self.state.window.isPaused { self.noteSettling() }
    }

    /// Grants credit by hand that was withheld.
    func grantWithheld() {
        guard self.state.withheldCredit > 0 else { return }
        self.advertise(self.state.grantWithheld(unsettled: self.dispositions.queue.count))
        self.noteSettling()
    }

    private func noteSettling() { self.note(self.waitsForSettling ? .unsettled : nil) }

    /// Not before the peer has attached: see ``ProtonLink/grant(_:)``.
    func topUp() {
        guard self.isAttached else { return }
        guard self.state.window.policy != .manual else { return self.grantWithheld() }
        let isIdle = self.state.isIdle && !self.state.window.isPaused && self.arrivals.isEmpty
        if isIdle, self.inbox?.hasWaiters == true { self.state.starve() }
        let limit = self.creditLimit
        self.advertise(self.pace == nil ? self.state.topUp(limit: limit) : self.pacedTopUp(limit: limit))
        self.promise()
        self.noteCause()
    }

    private func advertise(_ credit: Int) {
        guard credit > 0 else { return }
        let withoutIt = self.state.window.outstanding - credit + (self.state.message.hasBegun ? 1 : 0)
        self.dispositions.proof.granted(after: self.sequence + UInt64(max(0, withoutIt)), self.handler.writes.next)
        self.link.grant(credit)
        self.showCredit()
        self.tune()
    }

    /// Shows tasks the credit that the peer has.
    @inline(__always)
    func showCredit() { self.status.credit.store(self.state.window.outstanding, ordering: .relaxed) }

    /// Tunes a window that sizes itself, once for all that came or went together.
    ///
    /// - Parameter time: When; now if nil.
    func tune(at time: Int64? = nil) {
        guard self.state.window.isAutomatic else { return }
        self.state.tune(at: time ?? self.handler.nanoseconds)
        if self.share == nil, let count = self.state.window.learned {
            self.inbox?.setReportEvery(max(1, min(count / 4, 64)))
        }
    }

    // MARK: The account

    /// Whether messages give bytes back when they are taken.
    var countsUntaken: Bool { self.state.window.budget != nil || self.share != nil }

    /// The credit that the connection has room for.
    private var creditLimit: Int {
        let limit = self.share?.credit(isIdle: self.state.isIdle, of: &self.handler.receiving.budget) ?? .max
        return min(limit, self.state.unsettledCredit(self.dispositions.queue.count))
    }

    /// Whether the receiver would grant credit, and waits for the sender to settle.
    var waitsForSettling: Bool {
        let queue = (unsettled: self.dispositions.queue.count, undecided: self.dispositions.queue.orderedCount)
        return self.state.waitsForSettling(unsettled: queue.unsettled, undecided: queue.undecided)
    }

    /// Announces to the connection what is expected for the credit that is out.
    func promise() {
        self.share?.promise(self.isLocallyOpen ? self.state.window.outstanding : 0, to: &self.handler.receiving.budget)
    }

    /// Counts what the link holds more, or less.
    func account(_ bytes: Int) {
        guard self.share != nil else { return }
        self.share?.add(bytes, to: &self.handler.receiving.budget)
    }

    // MARK: The rate limit

    /// Sets or takes away the rate limit, from now on.
    func setRate(_ limit: AMQPRateLimit?) {
        guard !self.isDone else { return }
        let now = self.handler.nanoseconds
        self.paceTimer?.cancel()
        self.paceTimer = nil
        if let limit, self.pace != nil {
            self.pace?.limiter.change(to: limit, now: now)
        } else {
            self.pace = limit.map { CreditPace($0, now: now) }
        }
        self.topUp()
    }

    /// Credit came back.
    func refund(_ credit: Int) { self.pace?.giveBack(credit) }

    /// The credit to grant now, as far as the rate limit allows. What is missing follows by itself.
    ///
    /// - Parameter limit: The most to grant for other reasons.
    private func pacedTopUp(limit: Int) -> Int {
        guard self.state.window.wantsCredit else { return 0 }
        let now = self.handler.nanoseconds
        let credit = self.state.topUp(limit: min(limit, self.pace?.allowance(now) ?? .max))
        self.pace?.grant(credit)
        guard self.state.window.wantsCredit, self.paceTimer == nil, let next = self.pace?.limiter.nextTime(now: now)
        else { return credit }
        // A limit so low that its time cannot be told is looked at again.
        let time = min(max(next, now + 1_000_000), now + 3_600_000_000_000)
        self.paceTimer = self.handler.schedule(at: .uptimeNanoseconds(UInt64(clamping: time))) { [unowned self] in
            self.paceTimer = nil
            self.topUp()
        }
        return credit
    }
}
