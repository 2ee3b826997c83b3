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
    func pump() {
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
            self.processEvents()
            self.receiving.update()
            self.closeFlushed()
            repeat {
                self.feed()
                // What is written early is at work at the peer while the rest is still being made.
                self.flush()
                // Writing may have shown that a session's window is open, and what Proton tells may have been answered.
            } while !self.isDead && (self.processEvents() || self.hasMore)
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
        var mail = self.mail
        self.mail = Outbox.Mail()
        // Nothing is posted for a lane that has ended: what there is of it comes with this mail.
        let ended = self.endedLanes.count
        defer { if ended > 0 { self.endedLanes.removeFirst(ended) } }
        self.outbox.take(&mail, releasing: self.releases)
        self.releases.removeAll(keepingCapacity: true)
        guard !mail.isEmpty else {
            self.mail = mail
            return false
        }
        if !mail.choices.isEmpty { self.keepChoices(&mail.choices) }
        self.applySettlements(&mail.settlements)
        var index = 0
        while index < mail.items.count {
            switch mail.items[index] {
            case .message(let message):
                index = self.enqueue(mail.items, from: index, message.lane)
                continue
            case .part(let part): self.enqueue(part)
            case .taken(let count, let receiver): self.receivers[receiver]?.taken(count)
            case .command: if let command = mail.commands.popFirst() { self.perform(command) }
            }
            index += 1
        }
        mail.items.removeAll(keepingCapacity: true)
        self.mail = mail
        return true
    }

    /// Queues a run of messages of one lane. Returns where the run ends.
    private func enqueue(_ items: [Outbox.Item], from start: Int, _ key: SlotKey) -> Int {
        var end = start
        while end < items.count, case .message(let message) = items[end], message.lane == key { end += 1 }
        let run = items[start..<end].lazy.compactMap { item in
            if case .message(let message) = item { message } else { nil }
        }
        if let lane = self.queue.lane(key) {
            self.queue.enqueue(run, on: lane)
            lane.link.noteCause()
            // Credit that the peer wants back is used first.
            if lane.link.isDraining { lane.link.flowed() }
        } else {
            let ended = self.endedLanes.first { $0.key == key }
            let error = ended?.error ?? .senderClosed
            self.logGivenUp(end - start, unsettled: 0, link: nil, error)
            for message in run {
                self.releases.append((message.ledgerBytes, message.node))
                self.metrics?.count(error, of: message)
                let options = self.takeChoice(of: message)?.options ?? AMQPSendOptions()
                if let ended { ended.fail(message, options) } else { message.fail(error) }
            }
        }
        return end
    }

    private func enqueue(_ part: StreamPart) {
        if let lane = self.queue.lane(part.lane), self.queue.enqueue(part, on: lane) { return lane.link.noteCause() }
        self.releases.append((part.ledgerBytes, part.node))
        part.bytes.done()
    }

    /// Settles in the order of arrival, so that Proton can tell the peer in ranges.
    private func applySettlements(_ settlements: inout [Settlement]) {
        guard !settlements.isEmpty else { return }
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
        self.abortGivenUp()
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
        self.queue.hasReadyLane && self.hasRoomForBatch || self.aborting.contains(where: \.mayAbort)
    }

    /// Whether the socket has room for a batch. For less nothing is handed over: each small write that ends would make room
    /// for another as small, and these cost five times as much.
    private var hasRoomForBatch: Bool { self.unwrittenBytes <= Self.writeBudget - Self.batch }

    /// Writes what Proton has to send. Returns whether it had anything.
    @discardableResult
    func produce() -> Bool {
        guard let context = self.context else { return false }
        self.engine.write { bytes in
            // The peer will get bytes without it, and one that does not read must not be sent more and more of them.
            if self.unwrittenBytes > 0, Self.isHeartbeat(bytes) { return }
            if self.writing == nil { self.writing = self.takeOutput(context) }
            self.writing?.writeBytes(bytes)
        }
        self.frames.sent(&self.writing)
        if self.engine.isLocallyActive {
            func add(_ frame: ByteBuffer) {
                if self.writing == nil { self.writing = self.takeOutput(context) }
                self.writing?.writeImmutableBuffer(frame)
            }
            // A peer that asks and does not read must not be answered without end.
            if self.unwrittenBytes < Self.writeBudget { self.frames.echoAnswers(add) }
            if self.frames.renewals(at: self.now, add) { self.isPumpNeeded = true }
            self.scheduleIdleLook()
        }
        let framed = self.takeFramed()
        let out = self.writing
        self.writing = nil
        guard let out, out.readableBytes > 0 else {
            if !framed.isEmpty { self.written(0, framed, .success(())) }
            return false
        }
        let count = out.readableBytes
        self.trace?.sent(out)
        if out.capacity <= Self.largestOutput { self.output = out }
        self.unwrittenBytes += count
        self.isFlushNeeded = true
        self.writes.issue()
        let promise = self.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { self.written(count, framed, $0) }
        // Behind much that waits a small write takes no more memory than it needs: a peer that does not read can have many made.
        let isLean = self.unwrittenBytes > Self.batch && count < out.capacity / 8
        let written = isLean ? context.channel.allocator.buffer(buffer: out) : out
        context.write(self.wrapOutboundOut(written), promise: promise)
        return true
    }

    private func takeFramed() -> [InFlightBytes] {
        var framed: [InFlightBytes] = []
        for session in self.touchedSessions { session.takeFramed(into: &framed) }
        self.touchedSessions.removeAll(keepingCapacity: true)
        return framed
    }

    /// An empty frame alone.
    private static func isHeartbeat(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count == 8 && bytes.loadUnaligned(as: UInt64.self).bigEndian == 0x0000_0008_0200_0000
    }

    /// Writes a close with the reason, behind all that Proton has to send. Proton makes none of its own where this side finds
    /// the error; its text would name another reason too.
    ///
    /// A peer that did not begin with the AMQP header gets that header alone. Source: AMQP 1.0 §2.2, §2.4.1.
    func sayFarewell(_ error: AMQPError) {
        guard let context = self.context, self.engine.transportError == nil else { return }
        guard self.header.isPassed else {
            // A client has sent its own at the start.
            if self.role == .server { self.write(ByteBuffer(bytes: HeaderCheck.expected), context) }
            return
        }
        if self.engine.isLocallyUnopened { self.engine.open() }
        while self.produce() {}
        guard !self.isDead, !self.engine.isLocallyClosed else { return }
        var frame = context.channel.allocator.buffer(capacity: 256)
        do {
            try CloseFrame.write(error.fitted(to: self.peerFrameSize), into: &frame)
        } catch {
            return self.logger.debug("no close was sent", metadata: .amqp(error: error))
        }
        self.write(frame, context)
    }

    /// Writes bytes that this side has made itself.
    private func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        let count = bytes.readableBytes
        self.trace?.sent(bytes)
        self.unwrittenBytes += count
        self.isFlushNeeded = true
        self.writes.issue()
        let promise = self.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { self.written(count, [], $0) }
        context.write(self.wrapOutboundOut(bytes), promise: promise)
    }

    /// The memory of the last write, if that has gone and the memory is of the usual size.
    private func takeOutput(_ context: ChannelHandlerContext) -> ByteBuffer {
        guard var out = self.output else { return context.channel.allocator.buffer(capacity: 4_096) }
        self.output = nil
        // New memory where the last write still holds it.
        out.clear()
        return out
    }

    func flush() {
        guard self.isFlushNeeded else { return }
        self.isFlushNeeded = false
        self.context?.flush()
    }

    /// The socket has taken bytes, or lost them: they leave the ledgers, and what was sent settled is done.
    private func written(_ count: Int, _ framed: [InFlightBytes], _ result: Result<Void, any Error>) {
        let wasFull = self.unwrittenBytes >= Self.writeBudget
        self.unwrittenBytes -= count
        var failure: AMQPError?
        if case .failure(let error) = result { failure = self.endError ?? self.translate(error) }
        if count > 0 { self.writes.end(isDone: failure == nil) }
        self.writeWaits.finish(self.writes.done)
        if self.isDead {
            if self.writes.isIdle { self.writeWaits.fail(failure ?? self.gone) }
            self.reportUnsent()
        }
        if !framed.isEmpty {
            self.metrics?.written(framed, isDone: failure == nil)
            // With the next look into the outbox, which follows.
            for handed in framed { self.releases.append((handed.bytes, handed.node)) }
            let outcome = failure.map { cause -> Result<AMQPOutcome, AMQPError> in
                .failure(cause.telling(.inDoubt))
            }
            for handed in framed { handed.settled?.resolve(outcome ?? .success(.settled)) }
        }
        // Nothing more may be handed over: it would count as sent.
        if let failure { return self.die(failure) }
        guard self.isPumping else { return self.pump() }
        // The round that writes hands over more itself. Answers wait for less than a full budget, and ends for the ledgers.
        if wasFull || !self.flushing.isEmpty { self.isPumpNeeded = true } else { self.isLookNeeded = true }
    }

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
    private func scheduleIdleLook() {
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
