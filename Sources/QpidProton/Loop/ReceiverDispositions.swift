// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The unsettled deliveries of a receiver, and the decisions about them on their way to the peer.
///
/// Dispositions without data are sent in ranges: ``DispositionPace`` decides when. A decision frees the place in the
/// window at once.
struct ReceiverDispositions: ~Copyable {
    /// A delivery that this side has not settled.
    struct Unsettled: BitwiseCopyable {
        let delivery: ProtonDelivery
        let sequence: UInt64
        /// The weight of the message in the window.
        let weight: Int
        /// Whether the pending disposition has the outcome `released` instead of `accepted`.
        var isReleased = false
    }

    /// The deliveries that this side has not settled, in order. Those that the sender has to settle first are outside
    /// this order.
    private(set) var queue = DispositionQueue<Unsettled>()
    private var pace = DispositionPace()
    /// The timer that sends overdue dispositions.
    private var timer: (deadline: Int64, scheduled: LoopTimer)?
    /// The sent dispositions that the peer has certainly read.
    var proof = DecisionProof()
    /// The dispositions in Proton, by the write that carries them.
    private(set) var unwritten = UnwrittenCounts()
    /// The tasks that wait for the settlement of a delivery.
    private(set) var waits = SettlementWaits()
    /// Whether the sender waits only for the outcome, so that this side settles together with its outcome.
    private(set) var settlesFirst = true

    /// Sets the delay of dispositions and the settle mode.
    ///
    /// - Parameter delay: The longest delay of a disposition, in nanoseconds.
    mutating func open(delay: Int64, _ mode: AMQPReceiverSettleMode) {
        self.pace.delay = delay
        self.settlesFirst = mode == .first
    }

    @inline(__always)
    mutating func append(_ delivery: ProtonDelivery, _ sequence: UInt64, weight: Int) -> SlotKey {
        let slot = self.queue.append(Unsettled(delivery: delivery, sequence: sequence, weight: weight))
        delivery.setKey(slot.bitPattern)
        return slot
    }

    // MARK: Settling

    /// Whether the loop is applying a batch of settlements.
    @inline(__always) var isInBatch: Bool { self.pace.isInBatch }

    mutating func beginBatch(at now: Int64) { self.pace.begin(at: now) }

    /// Ends a batch whose settlements are all applied. Returns the time of its start.
    mutating func endBatch() -> Int64 { self.pace.end() }

    /// Settles a delivery. Returns the delivery; `nil` if it is settled already.
    mutating func settle(_ slot: SlotKey, _ outcome: AMQPOutcome, on link: LinkEndpoint) -> Unsettled? {
        guard self.settlesFirst else { return self.send(slot, outcome, on: link) }
        switch outcome {
        case .accepted: return self.queue.decide(slot, at: self.pace.time) { $0.isReleased = false }
        case .released: return self.queue.decide(slot, at: self.pace.time) { $0.isReleased = true }
        case .rejected, .modified, .settled: return self.send(slot, outcome, on: link)
        }
    }

    /// Sends the outcome of one delivery at once.
    private mutating func send(_ slot: SlotKey, _ outcome: AMQPOutcome, on link: LinkEndpoint) -> Unsettled? {
        guard let entry = self.queue.withdraw(slot) else { return nil }
        link.set(outcome, of: entry.delivery)
        self.noteSent(outcome, on: link)
        // Otherwise the sender must settle first.
        if self.settlesFirst || entry.delivery.isRemotelySettled {
            self.answerWaits(of: entry, on: link)
            self.forget(slot)
        }
        return entry
    }

    /// Sends the outcome of a delivery that is still arriving, so that the sender need not send the rest.
    mutating func sendEarly(_ slot: SlotKey, _ outcome: AMQPOutcome, on link: LinkEndpoint) {
        guard let entry = self.queue.withdraw(slot) else { return }
        link.set(outcome, of: entry.delivery)
    }

    /// Counts the outcome of a delivery as sent.
    mutating func noteSent(_ outcome: AMQPOutcome, on link: LinkEndpoint) {
        link.meter?.decide(outcome)
        self.proof.send(link.handler.writes.next)
        self.unwritten.add(1, link.handler.writes)
    }

    /// Removes a delivery from the order without a disposition.
    mutating func withdraw(_ slot: SlotKey) -> Unsettled? { self.queue.withdraw(slot) }

    /// Removes a delivery.
    mutating func remove(_ slot: SlotKey) { self.queue.remove(slot) }

    /// Removes a delivery and settles it.
    mutating func forget(_ slot: SlotKey) {
        guard let entry = self.queue.remove(slot) else { return }
        entry.delivery.settle()
    }

    /// Removes a delivery that the sender has settled. Its decision is final; without a decision, the delivery is
    /// obsolete.
    ///
    /// - Returns: The delivery, and whether the application has decided it; `nil` if it is settled already.
    mutating func settledBySender(_ slot: SlotKey) -> (entry: Unsettled, isDecided: Bool)? {
        guard let entry = self.queue[slot] else { return nil }
        let isDecided = !self.queue.isInOrder(slot)
        if !self.waits.isEmpty {
            let result = AMQPSettlementResult(bySender: entry.delivery.remoteOutcome)
            for reply in self.waits.take(entry.sequence) { reply.resolve(.success(result)) }
        }
        self.forget(slot)
        return (entry, isDecided)
    }

    // MARK: Sending in ranges

    /// Sends due dispositions after a batch of settlements.
    ///
    /// - Parameter untaken: The number of messages that no task has received.
    mutating func sendDue(at time: Int64, untaken: @autoclosure () -> Int, on link: LinkEndpoint) {
        guard self.queue.ripeCount > 0 || self.queue.waitingCount > 0 else { return }
        // No task handles another message, so no decision about the neighbours is near.
        if self.pace.delay == 0 || self.queue.orderedCount == 0 || self.queue.orderedCount <= untaken() {
            return self.sendAll(on: link)
        }
        let step = self.pace.step(ripe: self.queue.ripeCount, waiting: self.queue.waitingCount)
        if step.isRipe { self.sendRipe(on: link) }
        if step.isWaiting { self.sendWaiting(decidedBefore: .max, on: link) }
        if self.queue.waitingCount > 0 { self.pace.wait(since: time) }
    }

    /// Schedules the sending of overdue dispositions.
    mutating func schedule(on receiver: ReceiverEndpoint) {
        let (ripeSince, hasWaiting) = (self.queue.ripeSince, self.queue.waitingCount > 0)
        guard let deadline = self.pace.deadline(ripeSince: ripeSince, hasWaiting: hasWaiting) else { return }
        if let timer = self.timer, timer.deadline <= deadline { return }
        self.cancelTimer()
        let timer = LoopTimer(of: receiver.handler, at: .uptimeNanoseconds(UInt64(max(0, deadline)))) {
            [unowned receiver] in
            receiver.dispositions.timer = nil
            guard !receiver.isDone else { return }
            receiver.dispositions.sendOverdue(on: receiver)
            receiver.dispositions.schedule(on: receiver)
        }
        self.timer = (deadline, timer)
    }

    mutating func cancelTimer() {
        self.timer?.scheduled.cancel()
        self.timer = nil
    }

    /// Sends dispositions whose delay is over.
    private mutating func sendOverdue(on link: LinkEndpoint) {
        let now = link.handler.now
        if self.pace.isRipeDue(self.queue.ripeSince, at: now) { self.sendRipe(on: link) }
        guard self.queue.waitingCount > 0, self.pace.isWaitingDue(at: now) else { return }
        // Some of the oldest dispositions may have been sent in the meantime.
        var oldest = Int64.max
        self.queue.forEachWaiting { _, decided in oldest = min(oldest, decided) }
        self.pace.sent(oldest: oldest)
        if self.pace.isWaitingDue(at: now) { self.sendWaiting(decidedBefore: self.pace.lastDue(at: now), on: link) }
    }

    /// Sends all delayed dispositions.
    mutating func sendAll(on link: LinkEndpoint) {
        guard !link.isDone else { return }
        self.sendRipe(on: link)
        self.sendWaiting(decidedBefore: .max, on: link)
    }

    private mutating func sendRipe(on link: LinkEndpoint) {
        self.unwritten.add(self.queue.ripeCount, link.handler.writes)
        while let entry = self.queue.removeRipe() { self.send(entry, on: link) }
    }

    private mutating func sendWaiting(decidedBefore time: Int64, on link: LinkEndpoint) {
        guard self.queue.waitingCount > 0 else { return self.pace.sent(oldest: .max) }
        var due: [SlotKey] = []
        var oldest = Int64.max
        self.queue.forEachWaiting { key, decided in
            if decided <= time { due.append(key) } else { oldest = min(oldest, decided) }
        }
        self.unwritten.add(due.count, link.handler.writes)
        for key in due { if let entry = self.queue.remove(key) { self.send(entry, on: link) } }
        self.pace.sent(oldest: oldest)
    }

    private mutating func send(_ entry: Unsettled, on link: LinkEndpoint) {
        link.meter?.decide(entry.isReleased ? .released : .accepted)
        self.proof.send(link.handler.writes.next)
        if entry.isReleased { entry.delivery.release() } else { entry.delivery.accept() }
        entry.delivery.settle()
        self.answerWaits(of: entry, on: link)
    }

    // MARK: Waits

    /// Answers a task once the settlement of a delivery has a result.
    mutating func answer(
        _ reply: Reply<AMQPSettlementResult>,
        whenSettled slot: SlotKey,
        _ sequence: UInt64,
        on link: LinkEndpoint
    ) {
        // The disposition was sent, at the latest in the last write with dispositions.
        guard self.queue[slot] != nil else { return link.handler.answer([reply], afterWrite: self.unwritten.lastWrite) }
        self.waits.add(sequence, reply)
        // A task waits for this disposition, so the disposition does not wait for its neighbours.
        if !self.queue.isInOrder(slot) { self.sendAll(on: link) }
    }

    /// Answers the tasks that wait for a disposition once the next write carries it. The peer sends no further answer.
    @inline(__always)
    private mutating func answerWaits(of entry: Unsettled, on link: LinkEndpoint) {
        guard !self.waits.isEmpty else { return }
        link.handler.answer(self.waits.take(entry.sequence), afterWrite: link.handler.writes.next)
    }

    /// Removes all deliveries of an ended link. Returns those without a decision, with their sequence.
    mutating func end() -> [SlotKey: UInt64] {
        var undecided: [SlotKey: UInt64] = [:]
        while let first = self.queue.first, let entry = self.queue.withdraw(first) { undecided[first] = entry.sequence }
        self.queue.removeAll()
        return undecided
    }

    /// Answers the waits for these deliveries of an ended link.
    mutating func endWaits(_ slots: [SlotKey], _ result: AMQPSettlementResult) {
        guard !self.waits.isEmpty else { return }
        for slot in slots {
            guard let entry = self.queue[slot] else { continue }
            for reply in self.waits.take(entry.sequence) { reply.resolve(.success(result)) }
        }
    }
}

extension AMQPSettlementResult {
    /// Creates the result of a delivery that the sender has settled.
    fileprivate init(bySender outcome: Result<AMQPOutcome, AMQPError>?) {
        switch outcome {
        case .success(let outcome)?: self = .settledBySender(outcome)
        case .failure(let error)?: self = .inDoubt(error)
        case nil: self = .settledBySender(.settled)
        }
    }
}
