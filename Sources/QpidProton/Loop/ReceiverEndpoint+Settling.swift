internal import NIOCore

// Telling the peer what was decided, in ranges.
//
// Proton merges the dispositions of deliveries whose ids follow each other when it is told them in this order. Handlers that
// work at the same time finish in another one: what is decided is kept for a short while, until its neighbours are. Its place in the window is
// free at once.

extension ReceiverEndpoint {
    /// When to tell what is decided.
    struct Telling {
        /// As many that follow each other are told at once.
        static let run = 64
        /// The same number behind an undecided message is sent at once, whatever the delay, because Proton keeps each until then.
        static let mostWaiting = 8_192
        /// How many delays one behind an undecided one waits at most.
        static let patience: Int64 = 5

        /// In nanoseconds.
        var delay: Int64 = 0
        /// No waiting delivery was decided before; `.max` when none waits.
        var waitingSince = Int64.max
        var timer: (deadline: Int64, scheduled: LoopTimer)?
        /// Something was settled with the mail that is being read.
        var isMarked = false
        /// When that was.
        var time: Int64 = 0
    }

    func markSettling() {
        guard !self.telling.isMarked else { return }
        self.telling.isMarked = true
        self.telling.time = self.handler.now
        self.handler.settlingReceivers.append(self)
    }

    /// Keeps what carries nothing, to be told with its neighbours; tells the others at once.
    func decide(_ slot: SlotKey, _ outcome: AMQPOutcome) -> Unsettled? {
        switch outcome {
        case .accepted: self.unsettled.decide(slot, at: self.telling.time) { $0.isReleased = false }
        case .released: self.unsettled.decide(slot, at: self.telling.time) { $0.isReleased = true }
        case .rejected, .modified, .settled: self.tell(slot, outcome)
        }
    }

    /// All that came with the mail is decided.
    func settled() {
        self.telling.isMarked = false
        guard !self.isDone else { return }
        self.learn(at: self.telling.time)
        self.useRoom()
        self.tellInTime()
        self.closeIfSettled()
    }

    private func tellInTime() {
        guard self.unsettled.ripeCount > 0 || self.unsettled.waitingCount > 0 else { return }
        // Nothing else is in work: its neighbours are not decided soon.
        if self.telling.delay == 0 || !self.isInWork { return self.tellAll() }
        if self.unsettled.ripeCount >= Telling.run { self.tellRipe() }
        if self.unsettled.waitingCount >= Telling.mostWaiting { self.tellWaiting(decidedBefore: .max) }
        if self.unsettled.waitingCount > 0 {
            self.telling.waitingSince = min(self.telling.waitingSince, self.telling.time)
        }
        self.scheduleTelling()
    }

    /// Whether the application has taken messages that it has not decided about.
    private var isInWork: Bool {
        let undecided = self.unsettled.orderedCount
        return undecided > 0 && undecided > (self.inbox?.count ?? 0) + self.arrivals.messages
    }

    private func tellRipe() {
        self.unwritten.add(self.unsettled.ripeCount, self.handler.writes)
        while let entry = self.unsettled.removeRipe() { self.tell(entry) }
    }

    private func tell(_ entry: Unsettled) {
        self.meter?.decide(entry.isReleased ? .released : .accepted)
        self.proof.tell(self.handler.writes.next)
        if entry.isReleased { entry.delivery.release() } else { entry.delivery.accept() }
        entry.delivery.settle()
        self.noteTold(entry)
    }

    func tellAll() {
        guard !self.isDone else { return }
        self.tellRipe()
        self.tellWaiting(decidedBefore: .max)
    }

    private func tellWaiting(decidedBefore time: Int64) {
        guard self.unsettled.waitingCount > 0 else { return self.telling.waitingSince = .max }
        var due: [SlotKey] = []
        var oldest = Int64.max
        self.unsettled.forEachWaiting { key, decided in
            if decided <= time { due.append(key) } else { oldest = min(oldest, decided) }
        }
        self.unwritten.add(due.count, self.handler.writes)
        for key in due { if let entry = self.unsettled.remove(key) { self.tell(entry) } }
        self.telling.waitingSince = oldest
    }

    private func scheduleTelling() {
        let delay = self.telling.delay
        var due = Int64.max
        if self.unsettled.ripeCount > 0 { due = self.unsettled.ripeSince + delay }
        if self.unsettled.waitingCount > 0 { due = min(due, self.telling.waitingSince + Telling.patience * delay) }
        guard due < .max else { return }
        if let timer = self.telling.timer, timer.deadline <= due { return }
        self.telling.timer?.scheduled.cancel()
        let timer = self.handler.schedule(at: .uptimeNanoseconds(UInt64(max(0, due)))) { [unowned self] in
            self.telling.timer = nil
            self.tellOverdue()
        }
        self.telling.timer = (due, timer)
    }

    private func tellOverdue() {
        guard !self.isDone else { return }
        let delay = self.telling.delay
        let now = self.handler.now
        if self.unsettled.ripeCount > 0, self.unsettled.ripeSince + delay <= now { self.tellRipe() }
        if self.unsettled.waitingCount > 0, self.telling.waitingSince + Telling.patience * delay <= now {
            // Some that were decided first may have been told since.
            var oldest = Int64.max
            self.unsettled.forEachWaiting { _, decided in oldest = min(oldest, decided) }
            self.telling.waitingSince = oldest
            // The latest have neighbours that are decided soon.
            if oldest + Telling.patience * delay <= now { self.tellWaiting(decidedBefore: now - delay) }
        }
        self.scheduleTelling()
    }

    /// The link ends: tells all, before the detach, unless the peer has ended the link or what it is on.
    func endTelling() {
        self.telling.timer?.scheduled.cancel()
        self.telling.timer = nil
        guard !self.isEndedByPeer, self.session.isHeardByPeer else { return }
        self.tellAll()
    }
}
