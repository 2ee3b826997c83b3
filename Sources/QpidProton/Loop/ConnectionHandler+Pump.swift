internal import DequeModule
internal import Logging
internal import NIOCore

extension ConnectionHandler {
    /// The bytes that may be on their way from Proton to the socket. More would wait where nothing can be taken back.
    static let writeBudget = 131_072
    /// The bytes that are handed to Proton before it writes.
    static let batch = 32_768
    /// The most bytes of a slice that is alone.
    static let largestSlice = 65_536
    /// The bytes up to which a message is not cut, however little is left of a turn: a second frame would cost more.
    static let uncut = 1_024
    /// The most memory that is kept for the next write, in bytes.
    static let largestOutput = 131_072
    /// The buffers that are read into. Each read is followed by a round of the pump and a write, however few messages it
    /// brought.
    static let reads = AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2_048, maximum: 131_072)
    /// How often the pump goes round before other connections of the loop have their turn.
    static let rounds = 16

    /// Moves everything that can move: the outbox, Proton's events, slices, and Proton's bytes.
    ///
    /// - Parameter isFresh: All events have been acted upon just now.
    func pump(isFresh: Bool = false) {
        guard !self.isDead else { return }
        guard !self.isPumping else {
            self.isPumpNeeded = true
            return
        }
        self.isPumping = true
        // Before the output: a heartbeat or an idle timeout that is due now has to go out now.
        self.runTimers()
        if self.isEndWaiting {
            self.isEndWaiting = false
            self.produce()
        }
        var rounds = 0
        var hasMail = false
        repeat {
            // Nothing waited for the bytes that have gone.
            let isLookOnly = rounds > 0 && !self.isPumpNeeded
            self.isPumpNeeded = false
            self.isLookNeeded = false
            hasMail = self.takeMail()
            if isLookOnly, !hasMail { break }
            if hasMail || rounds > 0 || !isFresh {
                self.processEvents()
                self.receiving.update()
            }
            if !self.flushing.isEmpty { self.closeFlushed() }
            repeat {
                self.feed()
                // What is written early is at work at the peer while the rest is still being made.
                self.flush()
                // Writing may have shown that a session's window is open, and what Proton tells may have been answered.
            } while !self.isDead && (self.processEvents() || self.hasMore)
            if !self.filledLanes.isEmpty { self.noteFilledLanes() }
            rounds += 1
        } while (self.isPumpNeeded || self.isLookNeeded) && rounds < Self.rounds && !self.isDead
        self.isPumping = false
        guard !self.isDead else { return }
        self.reportUnsent()
        self.receiving.update()
        if self.isPumpNeeded || self.isLookNeeded || hasMail {
            // Where there was mail there is more soon: looking again costs less than being woken.
            let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
            self.eventLoop.execute { bound.value.pump() }
        }
        self.closeIfDone()
    }

    /// Returns whether there was any.
    private func takeMail() -> Bool {
        // Nothing is posted for a lane that has ended: what there is of it comes with this mail.
        let ended = self.endedLanes.count
        defer { if ended > 0 { self.endedLanes.removeFirst(ended) } }
        guard self.outbox.isScheduled || !self.releases.isEmpty else { return false }
        // In place: nothing that follows from the mail takes other mail.
        self.outbox.take(&self.mail, releasing: self.releases, at: self.now)
        self.releases.removeAll(keepingCapacity: true)
        guard !self.mail.isEmpty else { return false }
        if !self.mail.choices.isEmpty { self.keepChoices(&self.mail.choices) }
        if !self.mail.settlements.isEmpty { self.applySettlements(&self.mail.settlements) }
        var index = 0
        while index < self.mail.items.count {
            switch self.mail.items[index] {
            case .message(let message):
                index = self.enqueue(message, at: index)
                continue
            case .part(let part): self.enqueue(part)
            case .taken(let count, let receiver): self.receivers[receiver]?.taken(count)
            case .command: if let command = self.mail.commands.popFirst() { self.perform(command) }
            }
            index += 1
        }
        self.mail.items.removeAll(keepingCapacity: true)
        return true
    }

    /// Queues a run of messages of one lane. Returns where the run ends.
    private func enqueue(_ first: PendingMessage, at start: Int) -> Int {
        guard let lane = self.queue.lane(first.lane) else { return self.failLate(first, at: start) }
        var index = start
        var message = first
        repeat {
            self.queue.append(message, to: lane)
            index += 1
            guard index < self.mail.items.count, case .message(let next) = self.mail.items[index] else { break }
            message = next
        } while message.lane == first.lane
        self.queue.makeReadyIfMovable(lane)
        // What can leave now is not blocked: whether it has left is looked at behind the turn.
        if lane.canMove { self.filledLanes.append(lane) } else { lane.link.noteCause() }
        // Credit that the peer wants back is used first.
        if lane.link.isDraining { lane.link.flowed() }
        return index
    }

    /// Fails a run of messages of a lane that has ended. Returns where the run ends.
    private func failLate(_ first: PendingMessage, at start: Int) -> Int {
        var index = start
        let ended = self.endedLanes.first { $0.key == first.lane }
        let error = ended?.error ?? .senderClosed
        while index < self.mail.items.count, case .message(let message) = self.mail.items[index],
            message.lane == first.lane
        {
            self.releases.append((message.ledgerBytes, message.node))
            self.metrics?.count(error, of: message)
            let options = self.takeChoice(of: message)?.options ?? AMQPSendOptions()
            if let ended { ended.fail(message, options) } else { message.fail(error) }
            index += 1
        }
        self.logGivenUp(index - start, unsettled: 0, link: nil, error)
        return index
    }

    /// Notes what blocks the lanes that have been filled and did not empty since.
    private func noteFilledLanes() {
        while let lane = self.filledLanes.popLast() { if !lane.isEmpty { lane.link.noteCause() } }
    }

    private func enqueue(_ part: StreamPart) {
        if let lane = self.queue.lane(part.lane), self.queue.enqueue(part, on: lane) { return lane.link.noteCause() }
        self.releases.append((part.ledgerBytes, part.node))
        part.bytes.done()
    }

    /// Settles in the order of arrival, so that Proton can tell the peer in ranges.
    private func applySettlements(_ settlements: inout [Settlement]) {
        // Not where one decides for those before it: of two decisions the first counts. Most come in order.
        let isInOrder = zip(settlements, settlements.dropFirst()).allSatisfy { $0.sequence < $1.sequence }
        if !isInOrder, !settlements.contains(where: \.includesEarlier) {
            let sorted = settlements.enumerated().sorted {
                ($0.element.sequence, $0.offset) < ($1.element.sequence, $1.offset)
            }
            settlements = sorted.map(\.element)
        }
        var late: [Settlement] = []
        for settlement in settlements {
            if let receiver = self.receivers[settlement.receiver] {
                receiver.settle(settlement)
            } else {
                late.append(settlement)
            }
        }
        if !late.isEmpty { self.settleEnded(late) }
        settlements.removeAll(keepingCapacity: true)
        for receiver in self.settlingReceivers { receiver.settled() }
        self.settlingReceivers.removeAll(keepingCapacity: true)
    }

    /// Hands slices to Proton while the socket has room, and writes all that Proton made of them and had to send besides.
    private func feed() {
        if !self.aborting.isEmpty { self.abortGivenUp() }
        let batch = self.hasRoomForBatch ? Self.batch : 0
        var budget = batch
        let payload = self.transferPayload
        while budget > 0, let lane = self.queue.nextLane() {
            let sender = lane.link
            let session = sender.session
            let isAlone = !self.queue.hasReadyLane
            let turn = isAlone ? budget : min(lane.allowance, budget)
            let isLimited = sender.limiter != nil
            var used = isLimited ? self.feedLimited(lane, turn: turn, payload: payload) : 0
            while !isLimited, used < turn {
                // A large message that is alone leaves in whole frames: half of one uses up as much of the peer's window.
                let room =
                    isAlone && used == 0 && budget == batch ? max(turn, min(payload, Self.largestSlice)) : turn - used
                let limit = min(max(room, Self.uncut), session.sliceLimit(payload: payload))
                guard let slice = lane.next(limit: limit) else { break }
                sender.send(slice, payload: payload)
                // A transfer has a frame around it, which an empty message has too.
                used += slice.range.count + 32
            }
            budget -= used
            self.queue.yield(lane, used: used)
            if lane.isEmpty { sender.answerDrain() }
            sender.noteCause()
        }
        self.produce()
    }

    /// Whether there is more to hand over, and room for it.
    private var hasMore: Bool {
        self.queue.hasReadyLane && self.hasRoomForBatch
            || !self.aborting.isEmpty && self.aborting.contains(where: \.mayAbort)
    }

    /// Whether the socket has room for a batch. For less nothing is handed over: each small write that ends would make room
    /// for another as small, and these cost five times as much.
    private var hasRoomForBatch: Bool { self.unwrittenBytes <= Self.writeBudget - Self.batch }

    func markTouched(_ session: SessionEndpoint) {
        self.touchedSessions.append(session)
    }

    func markArrived(_ receiver: ReceiverEndpoint) {
        self.arrivedReceivers.append(receiver)
    }

    // MARK: Timers and the end

    /// Runs Proton's idle timers, and comes back when they want to run next.
    private func runTimers() {
        self.now = self.nanoseconds
        guard let next = self.engine.tick(self.now / 1_000_000) else { return }
        if let tick = self.tick, tick.deadline <= next { return }
        self.tick?.timer.cancel()
        let timer = self.schedule(at: .uptimeNanoseconds(UInt64(next) * 1_000_000)) { [unowned self] in self.tick = nil
        }
        self.tick = (next, timer)
    }

    /// Looks again at links that have credit and on which nothing arrives, once a second at most: a flow that told the window may
    /// not have woken their senders.
    func scheduleIdleLook() {
        guard self.frames.mayOweIdleLinks, self.idleLook == nil else { return }
        self.idleLook = self.schedule(in: .nanoseconds(FrameObserver.PeerSession.idlePause)) { [unowned self] in
            self.idleLook = nil
            self.frames.lookAtIdleLinks()
        }
    }

    /// Closes the socket once both sides have said so and all has been written.
    private func closeIfDone() {
        guard self.unwrittenBytes == 0, self.engine.isWriteClosed else { return }
        if self.engine.isRemotelyClosed || self.engine.isReadClosed || self.engine.transportError != nil {
            self.die(AMQPError(scope: .connection, condition: .closed, detail: "the connection was closed"))
        }
    }
}
