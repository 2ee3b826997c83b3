internal import CProton
internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The loop's side of a sender: it hands slices to Proton and answers transfers. It is used on the event loop alone.
final class SenderEndpoint: LinkEndpoint {
    /// Until the link ends: the lane holds this endpoint.
    private(set) var lane: SendQueue<SenderEndpoint>.Lane?
    private(set) var node: SlotKey?
    /// The messages that have begun to be sent.
    var begun = 0
    /// How many numbers the library's tags have skipped, because the application had chosen them.
    var skippedTags = 0
    /// The tags of the unsettled deliveries, with the numbers of their messages; nil until the application chooses a tag or a
    /// format.
    var tagsInUse: [[UInt8]: Int]?
    /// What was chosen for the last message with options that began.
    var begunChoice: SendChoice?
    /// How many messages may be sent that the peer has not settled.
    private var unsettledLimit = Int.max
    /// That keeps credit of the peer from being used.
    private var isCapped = false
    /// See ``setRate(_:)``.
    var limiter: RateLimiter?
    var paceTimer: LoopTimer?
    /// The message that has begun was given up, and Proton has not been told: see ``abortIfPossible()``.
    var isAborting = false
    /// Called when the link ends: see ``flush(for:_:)``.
    var flushes: [() -> Void] = []

    override var hasRemoteTerminus: Bool {
        // A coordinator counts: it is a target of another kind.
        pn_terminus_get_type(pn_link_remote_target(self.link)) != PN_UNSPECIFIED
    }

    /// Opens the link on this side, with a lane and a ledger of its own.
    func open(_ configuration: AMQPSender.Configuration) throws(AMQPError) -> OpenedSender {
        try configuration.validate()
        try ProtonTerminus.set(pn_link_target(self.link), configuration.target)
        try ProtonTerminus.set(pn_link_source(self.link), configuration.source)
        try CheckedText.check(configuration.properties, "the sender's properties")
        try LinkProperties.set(self.link, configuration.properties, configuration.capabilities)
        pn_link_set_snd_settle_mode(self.link, ProtonSettleMode.sender(configuration.settleMode))
        pn_link_set_rcv_settle_mode(self.link, ProtonSettleMode.receiver(configuration.receiverSettleMode))
        try self.checkAttach()
        let lane = self.handler.queue.addLane(
            self,
            priority: configuration.priority,
            weight: configuration.weight
        )
        let node = self.handler.outbox.addLevel(configuration.sendLimit, parent: self.session.node, self.status)
        self.lane = lane
        self.node = node
        self.meter = self.handler.metrics?.meter(self, to: configuration.target, node: node)
        // Of messages that are sent settled nothing stays.
        if configuration.settleMode != .settled { self.unsettledLimit = configuration.unsettledLimit ?? .max }
        pn_link_open(self.link)
        if let rate = configuration.rateLimit { self.setRate(rate) }
        if self.session.isBlocked { self.handler.queue.setBlocked(true, on: lane) }
        // A peer that attached first may have granted credit already.
        self.flowed()
        return OpenedSender(status: self.status, lane: lane.key, node: node, overflow: configuration.overflow)
    }

    override var figures: LinkFigures { self.ownFigures }

    // MARK: Sending

    override func flowed() {
        guard let lane = self.lane, !self.isDone else { return }
        // The message that has begun has its credit already, which Proton takes when it ends.
        let credit = self.credit
        let hasBegun = lane.isMidMessage || self.isAborting
        let usable = credit - (hasBegun ? 1 : 0)
        let room = max(0, self.unsettledLimit - Int(pn_link_unsettled(self.link)))
        self.isCapped = usable > room
        self.setCredit(min(usable, room), isHeld: credit == 0, lane)
        self.answerDrain()
    }

    /// Gives unused credit back when the peer asks for it: between messages, for in the middle of one the counts of
    /// the two sides would part.
    func answerDrain() {
        guard self.isDraining, let lane = self.lane, lane.isEmpty, !self.isAborting, self.credit > 0
        else { return }
        guard pn_link_queued(self.link) == 0 else {
            // An abort that has not been framed yet is the end of its message.
            self.session.hasDrains = true
            return
        }
        pn_link_drained(self.link)
        // Proton has something to write.
        self.handler.isPumpNeeded = true
        self.isCapped = false
        self.setCredit(0, lane)
    }

    /// The peer wants the credit used or given back.
    var isDraining: Bool { !self.isDone && pn_link_get_drain(self.link) }

    private func setCredit(_ credit: Int, isHeld: Bool = false, _ lane: SendQueue<SenderEndpoint>.Lane) {
        self.handler.queue.setCredit(credit, isHeld: isHeld, isCapped: self.isCapped, on: lane)
        self.noteCause()
        self.status.credit.store(max(0, credit), ordering: .relaxed)
        self.status.deliveryLimit.set(self.begun + max(0, credit))
    }

    /// Hands one slice to Proton.
    ///
    /// - Parameter payload: About how many bytes of a message fit into one frame of the peer.
    func send(_ slice: SendQueue<SenderEndpoint>.Slice, payload: Int) {
        self.steps &+= 1
        let message = slice.message
        if slice.isFirst {
            let delivery: OpaquePointer?
            do { delivery = try self.makeDelivery(message) } catch { return self.refuse(slice, error) }
            // Taken back when the delivery is settled here: see `takeOutcome`.
            if !message.isSettled { pn_delivery_set_context(delivery, message.outcome.pointer) }
        }
        slice.bytes.withBytes(slice.range) { bytes in
            pn_link_send(self.link, bytes.assumingMemoryBound(to: CChar.self).baseAddress, bytes.count)
        }
        self.meter?.handOver(slice, number: self.begun, at: self.handler.now)
        if slice.endsBytes { slice.bytes.done() }
        var settled: OutcomePromise?
        if slice.isLast {
            let delivery = message.isSettled ? pn_link_current(self.link) : nil
            pn_link_advance(self.link)
            if let delivery {
                pn_delivery_settle(delivery)
                settled = message.outcome
            }
        }
        self.session.handOver(
            InFlightBytes(bytes: slice.ledgerBytes, node: message.node, settled: settled),
            transfers: 1 + slice.range.count / payload
        )
    }

    /// Begins a delivery.
    private func makeDelivery(_ message: PendingMessage) throws(AMQPError) -> OpaquePointer? {
        if message.hasChoice || self.tagsInUse != nil { return try self.makeChosenDelivery(message) }
        return self.makePlainDelivery()
    }

    func makePlainDelivery() -> OpaquePointer? {
        self.begun += 1
        return Self.withTag(self.begun + self.skippedTags) { tag in
            pn_delivery(self.link, pn_dtag(tag.bindMemory(to: CChar.self).baseAddress, tag.count))
        }
    }

    // MARK: Settling

    override func delivered(_ delivery: OpaquePointer) {
        guard pn_delivery_updated(delivery) else { return }
        pn_delivery_clear(delivery)
        guard let outcome = ProtonDisposition.remote(delivery), let promise = Self.takeOutcome(delivery) else {
            return
        }
        self.meter?.outcome(outcome, number: self.number(of: delivery), at: self.handler.now)
        if pn_link_current(self.link) == delivery {
            _ = self.dropCurrent()
        } else {
            self.freeTag(of: delivery)
            if !pn_delivery_settled(delivery) { ProtonDisposition.repeatRemote(delivery) }
            pn_delivery_settle(delivery)
        }
        promise.resolve(outcome)
        if self.isCapped { self.flowed() }
    }

    /// Takes out the message that has begun and will not be finished, to be aborted. Returns it, not answered yet.
    private func dropCurrent() -> PendingMessage? {
        guard let lane = self.lane, let current = pn_link_current(self.link),
            let (message, rest) = self.handler.queue.dropCurrent(lane)
        else { return nil }
        _ = Self.takeOutcome(current)
        if rest > 0 { self.handler.outbox.release([(rest, message.node)]) }
        self.isAborting = true
        self.handler.aborting.append(self)
        return message
    }

    private static func takeOutcome(_ delivery: OpaquePointer) -> OutcomePromise? {
        guard let context = pn_delivery_get_context(delivery) else { return nil }
        pn_delivery_set_context(delivery, nil)
        return OutcomePromise(pointer: context)
    }

    /// Gives up a message that is not sent to its end: takes it back if it has not begun, and aborts it if it has, as soon as
    /// the peer can be told.
    ///
    /// Does nothing when all of it has been handed over.
    func abort(_ reply: OutcomeReply, _ cause: AMQPError) {
        self.cancel(reply)
        guard self.lane?.isCurrent(reply) == true, let message = self.dropCurrent() else { return }
        self.meter?.fail(cause)
        message.outcome.resolve(.failure(cause))
    }

    /// Takes back a message that has not begun to be sent. Does nothing when it has.
    func cancel(_ reply: OutcomeReply) {
        guard let lane = self.lane, let message = self.handler.queue.remove(reply, from: lane) else { return }
        self.handler.outbox.release([(message.ledgerBytes + lane.dropParts(of: message), message.node)])
        self.meter?.fail(unsent: 1, inDoubt: 0)
        self.handler.dropChoice(of: message)
        message.fail(AMQPError(condition: .cancelled, detail: "the task was cancelled").telling(.notSent))
        // A drain may have waited for the message.
        self.answerDrain()
        self.noteCause()
    }

    // MARK: Ending

    override func end(_ error: AMQPError?) {
        guard let lane = self.lane, let node = self.node else { return }
        self.paceTimer?.cancel()
        self.paceTimer = nil
        let reports = self.reports
        if !reports.isEmpty {
            let unfinished = self.unfinished(lane)
            for report in reports { report.add(unfinished, lane: lane.key) }
        }
        let counts = reports.isEmpty ? self.allReports.map(\.unread) : []
        let unread = counts.isEmpty ? nil : UnreadFailure(counts: counts, isInDoubt: false)
        let unreadInDoubt = counts.isEmpty ? nil : UnreadFailure(counts: counts, isInDoubt: true)
        let cause = error ?? self.status.endError ?? .senderClosed
        let (unsent, unsettled) = (cause.telling(.notSent), cause.telling(.inDoubt))
        self.handler.outbox.closeLevel(node, unsent)
        var (abortedCount, unsettledCount) = (0, 0)
        if let message = self.dropCurrent() {
            // Its last bytes have not been handed over: the peer cannot have it.
            abortedCount = 1
            let aborted = cause.telling(.aborted)
            self.meter?.fail(aborted)
            message.outcome.fail(aborted, unread: unread)
        }
        self.endAborting()
        let messages = self.handler.queue.removeLane(lane)
        self.handler.endedLanes.append(
            EndedLane(
                key: lane.key,
                error: unsent,
                linkName: self.status.name,
                address: self.address,
                reports: reports,
                unread: unread
            )
        )
        self.lane = nil
        for message in messages {
            self.handler.dropChoice(of: message)
            message.fail(unsent, unread: unread)
        }
        self.handler.outbox.release(messages.map { ($0.ledgerBytes + lane.dropParts(of: $0), $0.node) })
        var delivery = pn_unsettled_head(self.link)
        while let current = delivery {
            delivery = pn_unsettled_next(current)
            guard let promise = Self.takeOutcome(current) else { continue }
            unsettledCount += 1
            promise.fail(unsettled, unread: unreadInDoubt)
        }
        self.meter?.fail(unsent: messages.count, inDoubt: unsettledCount)
        self.handler.logGivenUp(
            abortedCount + messages.count,
            unsettled: unsettledCount,
            link: self,
            cause
        )
        let flushes = self.flushes
        self.flushes = []
        for flush in flushes { flush() }
    }
}
