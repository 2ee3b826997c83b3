internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The loop's side of a receiver: it empties Proton at once, grants credit and settles. It is used on the event loop alone.
final class ReceiverEndpoint: LinkEndpoint {
    /// A delivery that this side has not settled.
    struct Unsettled: BitwiseCopyable {
        let delivery: ProtonDelivery
        let sequence: UInt64
        /// What the message counts for in the window.
        let weight: Int
        /// Of one that is decided and not told: released, and not accepted.
        var isReleased = false
    }

    private(set) var key: SlotKey?
    /// Tasks that wait for the settlement of a delivery.
    var settlementWaits = SettlementWaits()
    // Those that are looked at for each message are not checked for overlapping accesses, as the backlog of a lane: each is one
    // call of a plain value.
    @exclusivity(unchecked) var inbox: Inbox?
    @exclusivity(unchecked) var state = ReceiverState()
    private(set) var isHeldUntilSettled = true
    private var settleMode: AMQPReceiverSettleMode = .first
    /// A buffer holds no more.
    private(set) var maxMessageSize = Int(Int32.max)
    /// The largest message that is handed over whole.
    private(set) var largestWhole = Int(Int32.max)
    /// The bytes of streamed messages that may wait to be read; nil when messages are handed over whole.
    private(set) var streamBuffer: Int?

    @exclusivity(unchecked) var partial = ByteBuffer()
    /// What the link holds of what the connection may; nil where that is not bounded.
    @exclusivity(unchecked) var share: ReceiveShare?
    /// What messages count for in the window until they are taken, in order.
    var untaken: Deque<Int> = []
    var sequence: UInt64 = 0
    /// In the order, those of which nothing is decided; beside it, those whose outcome was told and that the sender has to
    /// settle first.
    let unsettled = DispositionQueue<Unsettled>()
    /// Whether unsettled messages that no task has taken are still handed out when the link has ended.
    private(set) var deliversUnsettledAfterEnd = false
    let arrivals = Arrivals()
    /// The streamed messages that have not been read to their end, by their sequence.
    var streams: [UInt64: ArrivingStream] = [:]
    /// What they hold together.
    var streamedBytes = 0
    /// The decisions that were handed to Proton, and what proves that the peer has read them.
    @exclusivity(unchecked) var proof = DecisionProof()
    /// What is decided and not told to the peer, see ReceiverEndpoint+Settling.swift.
    var telling = Telling()
    /// The decisions that were handed to Proton, by the write that carries them.
    @exclusivity(unchecked) var unwritten = UnwrittenCounts()
    /// What the rate limit leaves, see ReceiverEndpoint+Rate.swift; nil without one.
    @exclusivity(unchecked) var pace: CreditPace?
    var paceTimer: LoopTimer?
    /// When the link was opened here.
    var openTime: NIODeadline?

    /// Those who wait for the drain.
    var drains: [Reply<Int>] = []
    var stopping: Stopping?
    var timeouts: [(id: UInt64, deadline: NIODeadline)] = []
    var timeoutTimer: LoopTimer?

    override func remoteOpened() {
        super.remoteOpened()
        self.wasAnswered()
        self.topUp()
    }

    override var hasRemoteTerminus: Bool {
        self.link.hasRemoteSource
    }

    /// Opens the link on this side, with an inbox of its own.
    func open(_ configuration: AMQPReceiver.Configuration) throws(AMQPError) -> OpenedReceiver {
        try configuration.validate()
        try self.link.setSource(configuration.source)
        try self.link.setTarget(configuration.target)
        try CheckedText.check(configuration.properties, "the receiver's properties")
        try self.link.setProperties(configuration.properties, configuration.capabilities)
        self.link.setSettleModes(sender: configuration.senderSettleMode, receiver: configuration.settleMode)
        if self.handler.receiving.budget.shared != nil { self.share = ReceiveShare() }
        let policy = configuration.window.policy
        let window = CreditWindow(policy, maxMessageSize: configuration.maxMessageSize?.bytes ?? .max)
        // A message that is larger than the window's bytes could never be whole.
        let largest = min(window.largest ?? .max, self.handler.receiving.budget.largestMessage)
        let wholeLimit = configuration.streamsMessages || largest == .max ? nil : largest
        if let limit = [configuration.maxMessageSize?.bytes, wholeLimit].compactMap({ $0 }).min() {
            self.link.setMaxMessageSize(limit)
            self.maxMessageSize = min(limit, self.maxMessageSize)
        }
        try self.checkAttach()
        self.largestWhole = min(self.maxMessageSize, largest)
        if configuration.streamsMessages {
            self.streamBuffer = max(CreditWindow.leastSize, configuration.streamBuffer.bytes)
            if configuration.maxMessageSize == nil { self.maxMessageSize = .max }
        }
        self.isHeldUntilSettled = configuration.creditReturn == .onSettlement
        self.settleMode = configuration.settleMode
        let unsettledLimit = configuration.settleMode == .second ? configuration.unsettledLimit : nil
        self.state = ReceiverState(window, unsettledLimit: unsettledLimit.map { UnsettledLimit($0) } ?? .none)
        self.deliversUnsettledAfterEnd = configuration.deliversUnsettledAfterEnd ?? self.isOfPeer
        self.telling.delay = max(0, min(configuration.settlementDelay, .seconds(3_600)).nanoseconds)
        self.meter = self.handler.metrics?.meter(self, from: configuration.source)
        let key = self.handler.receivers.insert(self)
        self.key = key
        // What is taken of a window of bytes may be what Proton's bytes wait for: it is told at once.
        let reportEvery =
            switch window.policy {
            case _ where self.share != nil: 1
            case .messages(let count): max(1, count / 4)
            case .bytes, .automatic: 1
            case .manual, .onDemand, .unbounded: Int.max
            }
        let isAutomatic = policy != .manual
        let inbox = Inbox(
            reportEvery: reportEvery,
            isStarved: { [status = self.status] in
                let isShort = status.credit.load(ordering: .relaxed) == 0 || status.isHeldBack.load(ordering: .relaxed)
                return isAutomatic && isShort
            },
            report: { [outbox = self.handler.outbox] count in outbox.taken(count, receiver: key) },
            settler: Settler(
                outbox: self.handler.outbox,
                receiver: key,
                unsent: UnsentSettlements(
                    metadata: self.logMetadata(),
                    logger: self.handler.logger,
                    onLoss: self.meter?.lost
                )
            )
        )
        self.inbox = inbox
        self.link.open()
        self.openTime = self.handler.eventLoop.now
        if let limit = configuration.rateLimit { self.setRate(limit) }
        self.topUp()
        return OpenedReceiver(status: self.status, inbox: inbox)
    }

    override var figures: LinkFigures { self.ownFigures }

    // MARK: Receiving

    override func delivered(_ delivery: ProtonDelivery) {
        if delivery.isUpdated, delivery.isRemotelySettled, let slot = Self.slot(of: delivery) {
            self.settledByPeer(slot)
        }
        self.receive()
    }

    /// The message that is handed over while it arrives.
    var stream: ArrivingStream? {
        guard case .streaming(let sequence, _) = self.state.message else { return nil }
        return self.streams[sequence]
    }

    /// Takes whether something of the message that has begun stays in Proton.
    @inline(__always)
    func note(_ reading: ArrivingMessage.Reading) {
        if self.state.read(reading) { self.publish(reading) }
    }

    private func publish(_ reading: ArrivingMessage.Reading) {
        self.status.isHeldBack.store(reading == .heldBack, ordering: .relaxed)
        self.handler.receiving.heldBack += reading == .heldBack ? 1 : -1
    }

    /// Empties everything that Proton holds for this link, complete or not.
    func receive() {
        guard !self.isDone else { return }
        // What is taken now leaves room in the session's window.
        if self.state.message.isHeldBack { self.session.incomingTaken() }
        self.note(.upToDate)
        while !self.isDone, let delivery = self.link.current {
            if delivery.isAborted {
                self.aborted(delivery)
                continue
            }
            guard self.begin() else { return self.discard() }
            if let stream = self.stream {
                guard self.receive(stream, delivery) else { break }
                continue
            }
            let pending = delivery.pendingBytes
            let size = self.partial.readableBytes + pending
            let isTooLarge = size > self.largestWhole
            if isTooLarge, !self.mayStream { return self.refuseOversize() }
            let room = min(size, self.room(for: size)) - self.partial.readableBytes
            // What is left stays in Proton, and closes the session's window in the end.
            let isHeldBack = room < pending
            self.note(isHeldBack ? .heldBack : .upToDate)
            let isPartial = isHeldBack || delivery.isPartial
            if isTooLarge, !isPartial { return self.refuseOversize() }
            if !isPartial, size == pending, size <= ArrivalChunk.smallLimit {
                self.completeSmall(delivery, size)
                continue
            }
            if room > 0 {
                let count = self.partial.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
                    self.link.receive(into: bytes.baseAddress, room)
                }
                self.account(count)
            }
            if isPartial {
                if self.beginStream(delivery) { continue }
                if isTooLarge { return self.refuseOversize() }
                break
            }
            self.completeLarge(delivery)
        }
        self.caughtUp()
        // Who has begun to wait meanwhile did not see yet that something is held back. A stream waits for room in its buffer.
        if !self.isDone, self.state.message == .gathering(.heldBack), self.state.window.isAutomatic,
            self.arrivals.isEmpty, self.inbox?.hasWaiters == true
        {
            self.receive()
        }
    }

    /// Counts the message at its first byte. Returns false when the link takes no messages.
    private func begin() -> Bool {
        guard self.isLocallyOpen, self.inbox != nil else { return false }
        guard self.state.arrive() else {
            self.close(
                AMQPError(
                    scope: .link,
                    condition: .linkTransferLimitExceeded,
                    detail: "a message was sent without credit"
                )
            )
            return false
        }
        return true
    }

    /// Reads a whole message to where it waits.
    private func completeSmall(_ delivery: ProtonDelivery, _ count: Int) {
        let (tagCount, room) = self.placeTag(of: delivery, before: count)
        let read = count > 0 ? self.link.receive(into: room, count) : 0
        self.account(read)
        let (slot, isReported) = self.complete(delivery, read)
        self.arrivals.append(
            tagCount: tagCount,
            count: read,
            slot: slot,
            sequence: self.sequence,
            isReported: isReported
        )
    }

    /// Hands on the message that was gathered.
    func completeLarge(_ delivery: ProtonDelivery) {
        let (tagCount, _) = self.placeTag(of: delivery)
        let payload = self.partial
        self.partial = ByteBuffer()
        let (slot, isReported) = self.complete(delivery, payload.readableBytes)
        self.arrivals.append(
            large: .whole(payload),
            tagCount: tagCount,
            slot: slot,
            sequence: self.sequence,
            isReported: isReported
        )
    }

    /// Moves on behind the message. Returns its key's bits, 0 where it is settled, and whether its taking is to be reported.
    private func complete(_ delivery: ProtonDelivery, _ count: Int) -> (slot: UInt, isReported: Bool) {
        self.sequence += 1
        let isSettled = delivery.isRemotelySettled
        var weight = self.state.complete(count)
        if self.share != nil {
            weight = max(weight, count)
            self.account(weight - count)
            self.share?.complete(count)
        }
        self.pace?.complete(count)
        self.meter?.receive(count)
        self.link.advance()
        var slot: UInt = 0
        if isSettled {
            delivery.settle()
        } else {
            slot =
                self.unsettled.append(Unsettled(delivery: delivery, sequence: self.sequence, weight: weight)).bitPattern
            delivery.setKey(slot)
        }
        let isReported = isSettled || !self.isHeldUntilSettled
        if isReported, self.countsUntaken { self.untaken.append(weight) }
        return (slot, isReported)
    }

    /// Begins a message that is handed over: writes its tag, which is gone from Proton with the delivery. A ``MarkedTag`` keeps
    /// its mark; other tags of more than 32 bytes are against the standard, and cut. Returns the room for `count` bytes behind
    /// the tag.
    func placeTag(of delivery: ProtonDelivery, before count: Int = 0) -> (count: Int, room: UnsafeMutableRawPointer) {
        let tag = delivery.tag
        let isMarked = tag.count == MarkedTag.count && self.handler.frames.receivesFormats
        let tagCount = isMarked ? MarkedTag.count : min(tag.count, MarkedTag.longest)
        let room = self.arrivals.room(for: tagCount + count)
        if let start = tag.baseAddress { room.copyMemory(from: start, byteCount: tagCount) }
        if self.arrivals.isEmpty { self.handler.markArrived(self) }
        return (tagCount, room + tagCount)
    }

    private func aborted(_ delivery: ProtonDelivery) {
        self.dropPartial()
        // An abort that is the first that is seen of a message has used its credit too, and needs it.
        guard self.state.message.hasBegun || self.begin() else { return self.discard() }
        let stream = self.stream
        self.state.abort()
        if let stream { self.abort(stream) }
        self.pace?.complete(0)
        delivery.settle()
        // Who waits next must see that the credit is used: nothing is handed over that would show it.
        self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
        self.topUp()
    }

    func refuseOversize() {
        let text = "a message is larger than the max-message-size of \(self.maxMessageSize) bytes"
        self.close(AMQPError(scope: .link, condition: .linkMessageSizeExceeded, detail: text))
        self.discard()
    }

    /// Reads and drops what still comes on a link that is closed here, so that the session's window does not leak.
    private func discard() {
        self.dropPartial()
        defer { if !self.isDone { self.session.incomingTaken() } }
        while !self.isDone, let delivery = self.link.dropCurrent() {
            // The peer must not take it for done.
            if !delivery.isRemotelySettled, !delivery.isAborted {
                delivery.release()
            }
            delivery.settle()
        }
    }

    /// Hands what has arrived to the tasks.
    func flushArrived() {
        guard !self.arrivals.isEmpty else { return }
        self.proof.arrived(self.sequence)
        self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
        if self.stopping != nil { return self.setAside(self.arrivals.take()) }
        self.inbox?.push(self.arrivals.take())
        self.promise()
        if self.streamedBytes > 0 { self.countBuffered() }
        self.steps &+= 1
        self.session.noteIncoming()
        self.takeHeldBack()
        self.learn()
        // Others may wait still, and the size that messages are expected to have may have changed.
        self.topUp()
    }

    // MARK: Settling

    func settle(_ settlement: Settlement) {
        guard !self.isDone else { return }
        self.markSettling()
        if settlement.includesEarlier {
            // Deciding takes it out of those that are not decided.
            while let first = self.unsettled.first, let entry = self.unsettled[first],
                entry.sequence < settlement.sequence
            {
                self.settle(first, settlement.outcome)
            }
        }
        self.settle(settlement.slot, settlement.outcome)
    }

    private func settle(_ slot: SlotKey, _ outcome: AMQPOutcome) {
        if !self.streams.isEmpty, self.settleStreamed(slot, outcome) {
            self.meter?.decide(outcome)
            self.proof.tell(self.handler.writes.next)
            return self.unwritten.add(1, self.handler.writes)
        }
        guard let entry = self.settleMode == .first ? self.decide(slot, outcome) : self.tell(slot, outcome) else {
            return
        }
        // What that leaves room for follows once for all that came with the mail: see ``settled()``.
        if self.isHeldUntilSettled { self.giveBack(1, bytes: entry.weight) }
    }

    /// Tells the outcome of one delivery at once.
    func tell(_ slot: SlotKey, _ outcome: AMQPOutcome) -> Unsettled? {
        guard let entry = self.unsettled.withdraw(slot) else { return nil }
        self.set(outcome, of: entry.delivery)
        self.meter?.decide(outcome)
        self.proof.tell(self.handler.writes.next)
        self.unwritten.add(1, self.handler.writes)
        // The sender has to settle first.
        if self.settleMode == .first || entry.delivery.isRemotelySettled {
            self.noteTold(entry)
            self.forget(slot)
        }
        return entry
    }

    /// The sender has settled: the state of a delivery that was decided is final, another one has no more use.
    private func settledByPeer(_ slot: SlotKey) {
        guard let entry = self.unsettled[slot] else { return }
        // What has not come yet must be read before it is settled.
        if self.stream?.slot == slot { return }
        let isDecided = !self.unsettled.isInOrder(slot)
        self.noteSettledBySender(entry)
        self.forget(slot)
        if !isDecided, self.isHeldUntilSettled { self.free(1, bytes: entry.weight) } else { self.topUp() }
        self.closeIfSettled()
    }

    func forget(_ slot: SlotKey) {
        guard let entry = self.unsettled.remove(slot) else { return }
        entry.delivery.settle()
    }

    /// The outcome is all that the sender waits for.
    var settlesAtOnce: Bool { self.settleMode == .first }

    private static func slot(of delivery: ProtonDelivery) -> SlotKey? {
        delivery.key == 0 ? nil : SlotKey(bitPattern: delivery.key)
    }

    override func flowed() {
        guard self.isDone || self.link.remoteCredit >= 0 else {
            let text = "the peer counts more messages than it was granted credit for"
            return self.close(AMQPError(scope: .link, condition: .linkTransferLimitExceeded, detail: text))
        }
        self.creditCame()
    }

    func dropPartial() {
        self.account(-self.partial.readableBytes)
        self.partial = ByteBuffer()
    }

    // MARK: Ending

    override func end(_ error: AMQPError?) { self.endReceiving(error) }
}
