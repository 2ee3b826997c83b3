// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The loop's side of a receiver: the endpoint reads received bytes from Proton at once, grants credit and settles.
/// Used on the event loop only.
///
/// ``ReceiverState`` decides how many messages the peer may send. ``ReceiverDispositions``, ``ReceiverDrains``,
/// ``ReceiverStop``, ``ReceiverStreams`` and ``ReceiverEnding`` have one duty each.
final class ReceiverEndpoint: LinkEndpoint {
    private(set) var key: SlotKey?
    // Used for each message. Exclusivity checks are off, because each access is one call on a value.
    @exclusivity(unchecked) var inbox: Inbox?
    @exclusivity(unchecked) var state = ReceiverState()
    @exclusivity(unchecked) var dispositions = ReceiverDispositions()
    /// The received part of the collected message.
    @exclusivity(unchecked) var partial = ByteBuffer()
    @exclusivity(unchecked) var account = ReceiverAccount()
    private(set) var limits = ReceiverLimits()
    private(set) var isHeldUntilSettled = true
    /// Whether tasks still receive unsettled messages after the end of the link.
    private(set) var deliversUnsettledAfterEnd = false
    var sequence: UInt64 = 0
    let arrivals = Arrivals()
    /// The streamed messages; `nil` if messages are delivered whole.
    private(set) var streams: ReceiverStreams?
    private(set) lazy var drains = ReceiverDrains(of: self)
    /// The close that waits for the application.
    private(set) var stopping: ReceiverStop?
    /// The time at which this side opened the link.
    private var openTime: NIODeadline?

    // MARK: Opening

    /// Opens the link on this side, with an inbox of its own.
    func open(_ configuration: AMQPReceiver.Configuration) throws(AMQPError) -> OpenedReceiver {
        try configuration.validate()
        try self.link.prepare(configuration)
        self.account = ReceiverAccount(isBudgeted: self.handler.receiving.budget.shared != nil)
        let window = CreditWindow(
            configuration.window.policy,
            maxMessageSize: configuration.maxMessageSize?.bytes ?? .max
        )
        self.limits = ReceiverLimits(configuration, window, largest: self.handler.receiving.budget.largestMessage)
        if let size = self.limits.advertised { self.link.setMaxMessageSize(size) }
        try self.checkAttach()
        let unsettledLimit = configuration.settleMode == .second ? configuration.unsettledLimit : nil
        self.state = ReceiverState(window, unsettledLimit: unsettledLimit.map { UnsettledLimit($0) } ?? .none)
        if configuration.startsPaused { self.drains.begin() }
        if configuration.streamsMessages { self.streams = ReceiverStreams(of: self, configuration.streamBuffer) }
        self.isHeldUntilSettled = configuration.creditReturn == .onSettlement
        self.deliversUnsettledAfterEnd = configuration.deliversUnsettledAfterEnd ?? self.isOfPeer
        let delay = max(0, min(configuration.settlementDelay, .seconds(3_600)).nanoseconds)
        self.dispositions.open(delay: delay, configuration.settleMode)
        self.meter = self.handler.metrics?.meter(self, from: configuration.source)
        let key = self.handler.receivers.insert(self)
        self.key = key
        let inbox = Inbox(of: self, key: key)
        self.inbox = inbox
        self.link.open()
        self.openTime = self.handler.eventLoop.now
        if let limit = configuration.rateLimit { self.setRate(limit) }
        self.topUp()
        return OpenedReceiver(status: self.status, inbox: inbox)
    }

    override var hasRemoteTerminus: Bool { self.link.hasRemoteSource }

    override func remoteOpened() {
        if let openTime = self.openTime {
            self.state.attached(after: (self.handler.eventLoop.now - openTime).nanoseconds)
        }
        super.remoteOpened()
    }

    /// Grants credit before the task that opened the link receives the link.
    override func attach() {
        if self.status.attachment.answer == nil { self.topUp() }
        super.attach()
    }

    override var figures: LinkFigures { LinkFigures(of: self) }

    // MARK: Frames of the peer

    override func delivered(_ delivery: ProtonDelivery) {
        if delivery.isUpdated, delivery.isRemotelySettled, delivery.key != 0 {
            self.settledBySender(SlotKey(bitPattern: delivery.key))
        }
        self.receive()
    }

    override func flowed() {
        guard self.isDone || self.link.remoteCredit >= 0 else {
            return self.close(.overrun("the peer counts more messages than it was granted credit for"))
        }
        self.showCredit()
        guard !self.isDone, !self.link.isAwaitingDrain else { return }
        let credit = self.link.takeReturnedCredit()
        if self.state.drain.isUnderWay { self.dispositions.proof.drained() }
        self.perform(self.state.returned(credit))
    }

    /// Ends an answered drain once Proton has no more received messages.
    @inline(__always)
    func caughtUp() {
        guard self.state.drain.isUnderWay, !self.isDone else { return }
        self.perform(self.state.caughtUp())
    }

    func perform(_ step: DrainStep) {
        if step != .none { self.drains.perform(step) }
    }

    // MARK: Settling

    func settle(_ settlement: Settlement) {
        guard !self.isDone else { return }
        if !self.dispositions.isInBatch {
            self.dispositions.beginBatch(at: self.handler.now)
            self.handler.settlingReceivers.append(self)
        }
        if settlement.includesEarlier {
            // Each decision removes the first delivery from the undecided ones.
            while let first = self.dispositions.queue.first, let entry = self.dispositions.queue[first],
                entry.sequence < settlement.sequence
            {
                self.settle(first, settlement.outcome)
            }
        }
        self.settle(settlement.slot, settlement.outcome)
    }

    private func settle(_ slot: SlotKey, _ outcome: AMQPOutcome) {
        if self.streams != nil, self.streams?.settle(slot, outcome) == true {
            return self.dispositions.noteSent(outcome, on: self)
        }
        guard let entry = self.dispositions.settle(slot, outcome, on: self) else { return }
        // The end of the batch uses the new room once for all settlements: see ``settled()``.
        if self.isHeldUntilSettled { self.returnPlaces(1, bytes: entry.weight) }
    }

    /// Handles the end of a batch of settlements.
    func settled() {
        let time = self.dispositions.endBatch()
        guard !self.isDone else { return }
        self.tune(at: time)
        self.useRoom()
        self.dispositions.sendDue(at: time, untaken: (self.inbox?.count ?? 0) + self.arrivals.messages, on: self)
        self.dispositions.schedule(on: self)
        if self.state.purpose == .stopped { self.stopping?.closeIfSettled() }
    }

    private func settledBySender(_ slot: SlotKey) {
        // Bytes that are still in Proton must be read before the settlement.
        if case .streaming = self.state.message, self.streams?.arriving?.slot == slot { return }
        guard let (entry, isDecided) = self.dispositions.settledBySender(slot) else { return }
        if !isDecided, self.isHeldUntilSettled { self.free(1, bytes: entry.weight) } else { self.topUp() }
        if self.state.purpose == .stopped { self.stopping?.closeIfSettled() }
    }

    // MARK: Stopping and ending

    /// Closes the link when the application has settled its messages, or after `limit`: see ``ReceiverStop``.
    func stop(for limit: Duration, _ done: @escaping () -> Void) {
        guard self.isLocallyOpen, self.key != nil else { return done() }
        let isFirst = self.state.stop()
        let stopping = self.stopping ?? ReceiverStop(of: self)
        self.stopping = stopping
        stopping.wait(for: limit, isFirst: isFirst, done)
    }

    override func end(_ error: AMQPError?) { ReceiverEnding(of: self, error).run() }
}
