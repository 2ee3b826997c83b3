internal import CProton
internal import NIOCore
internal import Synchronization

// Pausing, and the end in three steps: stop, settle, detach.

extension ReceiverEndpoint {
    /// A close that waits until the application has settled what it holds.
    struct Stopping {
        var replies: [() -> Void] = []
        var timer: LoopTimer?
        /// What nobody gets any more, in order. It is given back when nothing more comes: the peer could send it once more
        /// for the credit that is left.
        var setAside: [SlotKey] = []
        /// Nothing more comes.
        var isQuiet = false
    }

    // MARK: Pausing

    /// Keeps all credit back, and has the peer give back what it has. The answer means that nothing is on its way.
    func pause(_ reply: Reply<Int>) {
        if self.isLocallyOpen {
            self.tellAll()
            self.isPausedHere = true
            self.status.isPaused.store(true, ordering: .relaxed)
            self.window.pause()
        }
        self.drain(reply)
    }

    func resume() {
        guard self.stopping == nil else { return }
        self.isPausedHere = false
        self.status.isPaused.store(false, ordering: .relaxed)
        guard self.isLocallyOpen else { return }
        self.grantAgain()
        self.grantForTimeout()
    }

    // MARK: Stopping

    /// Pauses, waits until the application has settled what it holds, and closes the link.
    ///
    /// - Parameters:
    ///   - limit: How long to wait for the application.
    ///   - done: Called when the link has ended on this side.
    func stop(for limit: Duration, _ done: @escaping (()) -> Void) {
        guard self.isLocallyOpen, self.key != nil else { return done(()) }
        let isFirst = self.stopping == nil
        self.stopping = self.stopping ?? Stopping()
        self.stopping?.replies.append { done(()) }
        if isFirst { self.setAsideUntaken() }
        guard limit > .zero else { return self.close(nil) }
        let timer = self.handler.schedule(in: limit) { [unowned self] in self.close(nil) }
        self.stopping?.timer?.cancel()
        self.stopping?.timer = timer
        guard isFirst else { return self.closeIfSettled() }
        self.pause(Reply())
    }

    private func setAsideUntaken() {
        let kept = Arrivals()
        while let part = self.inbox?.withState({ $0.pop(max: .max) }) {
            var large = part.large[...]
            self.setAside(part.chunk, part.range, &large, kept)
        }
        self.inbox?.push(kept.take())
    }

    /// Sets aside what has arrived.
    func setAside(_ batch: Arrivals.Batch) {
        let kept = Arrivals()
        var large = batch.large[...]
        for chunk in batch.chunks { self.setAside(chunk, 0..<chunk.count, &large, kept) }
        self.inbox?.push(kept.take())
    }

    /// Messages that the sender has settled cannot be given back: they are kept, to be taken still.
    private func setAside(
        _ chunk: ArrivalChunk,
        _ range: Range<Int>,
        _ large: inout ArraySlice<LargeArrival>,
        _ kept: Arrivals
    ) {
        for index in range {
            let record = chunk[index]
            let own = record.isLarge ? large.popFirst() : nil
            if record.slot != 0 {
                self.stopping?.setAside.append(SlotKey(bitPattern: record.slot))
            } else {
                kept.append(record, tag: chunk.tag(record), own ?? .whole(chunk.payload(record)))
            }
        }
    }

    /// Nothing more comes, or the peer does not say so in time.
    func becameQuiet() {
        guard self.stopping != nil else { return }
        self.stopping?.isQuiet = true
        self.releaseSetAside()
        self.closeIfSettled()
    }

    func releaseSetAside() {
        let slots = self.stopping?.setAside ?? []
        self.stopping?.setAside = []
        for slot in slots { self.release(slot) }
    }

    /// Closes the link if the application holds nothing any more that it could settle.
    func closeIfSettled() {
        guard let stopping, stopping.isQuiet, self.isLocallyOpen, self.unsettled.orderedCount == 0 else { return }
        self.close(nil)
    }

    /// The link ends: keeps how much of what the application holds is not settled, and what the peer has not confirmed.
    func endStopping() {
        // Decided messages that are still here could not be told.
        let untold = self.unsettled.ripeCount + self.unsettled.waitingCount
        let untaken = (self.stopping?.setAside.count ?? 0) + (self.inbox?.unsettledCount ?? 0)
        self.status.heldAtEnd.store(max(0, self.unsettled.orderedCount - untaken) + untold, ordering: .relaxed)
        self.status.unconfirmedAtEnd.store(self.told - self.toldWhenHeard, ordering: .relaxed)
        guard let stopping = self.stopping else { return }
        stopping.timer?.cancel()
        self.stopping?.replies = []
        for reply in stopping.replies { reply() }
    }
}

extension Arrivals {
    /// Adds a message that has arrived before.
    fileprivate func append(_ record: Record, tag: AMQPDelivery.Tag, _ message: LargeArrival) {
        let count = Int(tag.count)
        let room = self.room(for: count + (record.isLarge ? 0 : record.count))
        withUnsafeBytes(of: tag.storage) { room.copyMemory(from: $0.baseAddress!, byteCount: count) }
        if record.isLarge {
            self.append(
                large: message,
                tagCount: count,
                slot: record.slot,
                sequence: record.sequence,
                isReported: false
            )
        } else if case .whole(let payload) = message {
            payload.withUnsafeReadableBytes { bytes in
                if let start = bytes.baseAddress { (room + count).copyMemory(from: start, byteCount: bytes.count) }
            }
            self.append(
                tagCount: count,
                count: record.count,
                slot: record.slot,
                sequence: record.sequence,
                isReported: false
            )
        }
    }
}
