// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The loop's side of a sender: the endpoint hands slices to Proton and answers dispositions. Used on the event loop
/// only.
final class SenderEndpoint: LinkEndpoint {
    /// The lane of the sender; `nil` once the link has ended, because the lane holds this endpoint.
    private(set) var lane: SendFeed.Lane?
    private(set) var node: SlotKey?
    @exclusivity(unchecked) var state = SenderState.unopened
    @exclusivity(unchecked) var tags = DeliveryTags()
    /// The options of the last started message with options.
    var begunChoice: SendChoice?
    /// The most messages that may be sent and unsettled.
    private var unsettledLimit = Int.max
    /// Whether the unsettled limit leaves credit of the peer unused.
    private var isCapped = false
    /// The rate limit; `nil` without one: see ``setRate(_:)``.
    @exclusivity(unchecked) var pacer: SendPacer?
    /// Whether the started message is abandoned and Proton does not have its abort: see ``abortIfPossible()``.
    @inline(__always) var isAborting: Bool { self.state.isAborting }
    /// Called when the link ends: see ``flush(for:_:)``.
    var flushes: [() -> Void] = []

    override var hasRemoteTerminus: Bool {
        self.link.hasRemoteTarget
    }

    /// Opens the link on this side, with a lane and a ledger of its own.
    func open(_ configuration: AMQPSender.Configuration) throws(AMQPError) -> OpenedSender {
        try configuration.validate()
        try self.link.setTarget(configuration.target)
        try self.link.setSource(configuration.source)
        try CheckedText.check(configuration.properties, "the sender's properties")
        try self.link.setProperties(configuration.properties, configuration.capabilities)
        self.link.setSettleModes(sender: configuration.settleMode, receiver: configuration.receiverSettleMode)
        try self.checkAttach()
        let lane = self.handler.sending.queue.addLane(
            self,
            priority: configuration.priority,
            weight: configuration.weight
        )
        // An overflow policy other than `suspend` uses the whole configured limit.
        let limit = configuration.overflow == .suspend ? configuration.sendLimit : configuration.sendLimit?.fixed
        let node = self.handler.outbox.addLevel(
            limit,
            parent: self.session.node,
            self.status,
            isPrepaid: configuration.keptLimit != nil
        )
        self.lane = lane
        self.node = node
        self.meter = self.handler.metrics?.meter(self, to: configuration.target, node: node)
        // A sender of settled messages has no unsettled deliveries.
        if configuration.settleMode != .settled { self.unsettledLimit = configuration.unsettledLimit ?? .max }
        self.state.take(.open)
        self.link.open()
        if let rate = configuration.rateLimit { self.setRate(rate) }
        if self.session.isBlocked { self.handler.sending.queue.setBlocked(true, on: lane) }
        // A peer that attached first may have granted credit already.
        self.flowed()
        return OpenedSender(status: self.status, lane: lane.key, node: node, overflow: configuration.overflow)
    }

    override var figures: LinkFigures { LinkFigures(of: self) }

    // MARK: Sending

    override func flowed() {
        guard let lane = self.lane, !self.isDone else { return }
        // The started message already has its credit, which Proton counts at its end.
        let credit = self.credit
        let hasBegun = lane.isMidMessage || self.isAborting
        let usable = credit - (hasBegun ? 1 : 0)
        let room = max(0, self.unsettledLimit - self.link.unsettledCount)
        self.isCapped = usable > room
        self.setCredit(min(usable, room), isHeld: credit == 0, lane)
        self.answerDrain()
    }

    /// Returns unused credit that the peer has requested, but only between messages: see ``ProtonLink/returnCredit()``.
    func answerDrain() {
        guard self.isDraining, let lane = self.lane, lane.isEmpty, !self.isAborting, self.credit > 0
        else { return }
        guard self.link.queuedCount == 0 else {
            // An abort that is not framed yet still belongs to its message.
            self.session.hasDrains = true
            return
        }
        self.link.returnCredit()
        // The pump writes the flow that returns the credit.
        self.handler.isPumpNeeded = true
        self.isCapped = false
        self.setCredit(0, lane)
    }

    var isDraining: Bool { !self.isDone && self.link.isDraining }

    private func setCredit(_ credit: Int, isHeld: Bool = false, _ lane: SendFeed.Lane) {
        self.handler.sending.queue.setCredit(credit, isHeld: isHeld, isCapped: self.isCapped, on: lane)
        self.noteCause()
        self.status.credit.store(max(0, credit), ordering: .relaxed)
        self.status.deliveryLimit.set(self.tags.begun + max(0, credit))
    }

    /// Hands one slice to Proton.
    ///
    /// - Parameter payload: The approximate bytes of a message in one frame of the peer.
    func send(_ slice: SendQueue<SenderEndpoint>.Slice, payload: Int) {
        self.steps &+= 1
        let message = slice.message
        if slice.isFirst {
            let delivery: ProtonDelivery?
            do { delivery = try self.makeDelivery(message) } catch { return self.refuse(slice, error) }
            // `takeOutcome` releases the promise when this side settles the delivery.
            if !message.isSettled { delivery?.setContext(message.outcome.pointer) }
        }
        slice.bytes.withBytes(slice.range) { self.link.send($0) }
        self.meter?.handOver(slice, number: self.tags.begun, at: self.handler.now)
        if slice.endsBytes { slice.bytes.done() }
        var settled: OutcomePromise?
        if slice.isLast {
            if message.isSettled {
                self.link.advanceSettled()
                settled = message.outcome
            } else {
                self.link.advance()
            }
        }
        self.session.handOver(
            InFlightBytes(bytes: slice.ledgerBytes, node: message.node, settled: settled),
            transfers: 1 + slice.range.count / payload
        )
    }

    /// Starts a delivery.
    private func makeDelivery(_ message: PendingMessage) throws(AMQPError) -> ProtonDelivery? {
        if message.hasChoice || self.tags.areKept { return try self.makeChosenDelivery(message) }
        return self.makePlainDelivery()
    }

    func makePlainDelivery() -> ProtonDelivery? {
        DeliveryTags.withTag(self.tags.begin()) { self.link.beginDelivery(tag: $0) }
    }

    // MARK: Settling

    override func delivered(_ delivery: ProtonDelivery) {
        guard delivery.isUpdated else { return }
        delivery.clearUpdate()
        guard let outcome = delivery.remoteOutcome, let promise = Self.takeOutcome(delivery) else {
            return
        }
        self.meter?.outcome(outcome, number: self.tags.number(of: delivery.tag), at: self.handler.now)
        if self.link.current == delivery {
            _ = self.dropCurrent()
        } else {
            self.freeTag(of: delivery)
            if !delivery.isRemotelySettled { delivery.repeatRemoteOutcome() }
            delivery.settle()
        }
        if let owner = promise.owner {
            self.handler.ownedAnswers.add(outcome, for: promise, of: owner)
        } else {
            promise.finish(outcome)
        }
        if self.isCapped { self.flowed() }
    }

    /// Removes the started message, and requests its abort. Returns the message, whose outcome is still open.
    private func dropCurrent() -> PendingMessage? {
        guard let lane = self.lane, let current = self.link.current,
            let (message, rest) = self.handler.sending.queue.dropCurrent(lane)
        else { return nil }
        _ = Self.takeOutcome(current)
        if rest > 0 { self.handler.outbox.release([(rest, message.node)]) }
        self.state.take(.giveUp)
        self.handler.sending.willAbort(self)
        return message
    }

    private static func takeOutcome(_ delivery: ProtonDelivery) -> OutcomePromise? {
        delivery.takeContext().map { OutcomePromise(pointer: $0) }
    }

    /// Abandons an incomplete message. Withdraws the message if it has not started; otherwise aborts it as soon as
    /// possible.
    ///
    /// Does nothing if Proton has all bytes.
    func abort(_ reply: OutcomeReply, _ cause: AMQPError) {
        self.cancel(reply)
        guard self.lane?.isCurrent(reply) == true, let message = self.dropCurrent() else { return }
        self.meter?.fail(cause)
        message.outcome.resolve(.failure(cause))
    }

    /// Withdraws a message that has not started. Does nothing if the message has started.
    func cancel(_ reply: OutcomeReply) {
        guard let lane = self.lane, let message = self.handler.sending.queue.remove(reply, from: lane) else { return }
        self.handler.outbox.release([(message.ledgerBytes + lane.dropParts(of: message), message.node)])
        self.meter?.fail(unsent: 1, inDoubt: 0)
        self.handler.choices.drop(of: message)
        message.fail(AMQPError(condition: .cancelled, detail: "the task was cancelled").telling(.notSent))
        // A drain may have waited for the message.
        self.answerDrain()
        self.noteCause()
    }

    // MARK: Ending

    override func end(_ error: AMQPError?) {
        guard let lane = self.lane, let node = self.node else { return }
        self.pacer?.stop()
        let reports = self.reports
        if !reports.isEmpty {
            let unfinished = AMQPUnfinished(self, lane)
            for report in reports { report.add(unfinished, lane: lane.key) }
        }
        var ending = SenderEnding(
            error ?? self.status.endError ?? .senderClosed,
            reports.isEmpty ? self.allReports.map(\.unread) : []
        )
        self.handler.outbox.closeLevel(node, ending.notSent)
        if let message = self.dropCurrent() {
            self.meter?.fail(ending.aborted)
            ending.fail(begun: message)
        }
        self.endAborting()
        let messages = self.handler.sending.queue.removeLane(lane)
        self.handler.mail.end(
            EndedLane(
                key: lane.key,
                error: ending.notSent,
                linkName: self.status.name,
                address: self.address,
                reports: reports,
                unread: ending.unread
            )
        )
        self.lane = nil
        self.state.take(.end)
        for message in messages {
            self.handler.choices.drop(of: message)
            ending.fail(waiting: message)
        }
        self.handler.outbox.release(messages.map { ($0.ledgerBytes + lane.dropParts(of: $0), $0.node) })
        for current in self.link.unsettled {
            if let promise = Self.takeOutcome(current) { ending.fail(unsettled: promise) }
        }
        self.meter?.fail(unsent: messages.count, inDoubt: ending.inDoubtCount)
        self.handler.logger.gaveUp(
            unsent: ending.unsentCount,
            unsettled: ending.inDoubtCount,
            ending.cause,
            of: self.logMetadata()
        )
        let flushes = self.flushes
        self.flushes = []
        for flush in flushes { flush() }
    }
}
