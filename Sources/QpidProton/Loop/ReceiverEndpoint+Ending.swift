internal import Logging
internal import NIOCore
internal import Synchronization

// The end of a receiver: what becomes of the messages that are here.

extension ReceiverEndpoint {
    /// Ends all that waits on the receiver, and what it holds.
    ///
    /// - Parameter error: What ended the link; nil where a side detached without an error.
    func endReceiving(_ error: AMQPError?) {
        self.timeoutTimer?.cancel()
        self.timeouts = []
        let untaken = self.removeUntaken(error)
        self.endTelling()
        self.paceTimer?.cancel()
        // A peer that has detached hears no outcome.
        let isReleased = !self.isEndedByPeer && !self.isAbandoned
        if isReleased { for slot in untaken { self.release(slot) } }
        let isStreaming = self.stream != nil
        let cause =
            error ?? self.status.endError
            ?? AMQPError(scope: .link, condition: .closed, detail: "the receiver was closed")
        self.endStreams(cause)
        let isHeldBack = self.state.message.isHeldBack
        self.note(.upToDate)
        let dropped = isHeldBack ? self.dropHeldBack(isStreaming: isStreaming) : 0
        self.dropPartial()
        if !isReleased || error != nil { self.logUntaken(untaken.count + dropped, cause) }
        for slot in untaken { self.unsettled.remove(slot) }
        self.endStopping()
        self.endSettling(cause)
        // Those who wait get the end of the link, not that of their drain.
        self.inbox?.finish(error)
        // What stays to be taken is counted no more.
        self.account(-(self.share?.held ?? 0))
        self.promise()
        for reply in self.drains { reply.resolve(.failure(cause)) }
        self.drains = []
    }

    /// Removes the messages that no task has taken and that are unsettled on both sides, and returns their keys.
    ///
    /// Those that the sender has settled stay to be taken.
    private func removeUntaken(_ error: AMQPError?) -> [SlotKey] {
        let isClosedInOrder = error == nil && !self.isEndedByPeer && !self.isAbandoned
        if self.deliversUnsettledAfterEnd, self.stopping == nil, !isClosedInOrder {
            self.flushArrived()
            return []
        }
        self.status.credit.store(self.state.window.outstanding, ordering: .relaxed)
        let isUnsettled = { (slot: SlotKey) in self.unsettled[slot] != nil }
        var slots = self.stopping?.setAside.filter(isUnsettled) ?? []
        self.stopping?.setAside = []
        slots += self.inbox?.removeUnsettled(isUnsettled) ?? []
        if !self.arrivals.isEmpty {
            self.proof.arrived(self.sequence)
            var batch = self.arrivals.take()
            slots += batch.removeUnsettled(isUnsettled)
            self.inbox?.push(batch)
        }
        return slots
    }

    /// Forgets what is not settled, and counts the decisions that do not leave any more.
    private func endSettling(_ cause: AMQPError) {
        let isEndedHere = !self.isEndedByPeer && self.session.isHeardByPeer
        let unsent = self.unsettled.ripeCount + self.unsettled.waitingCount
        let untold = self.unsettled.keys(withdrawn: false)
        let unconfirmed = self.unsettled.keys(withdrawn: true)
        for (keys, result) in [(untold, AMQPSettlementResult.notWritten(cause)), (unconfirmed, .inDoubt(cause))]
        where !self.settlementWaits.isEmpty {
            for key in keys {
                guard let entry = self.unsettled[key] else { continue }
                for reply in self.settlementWaits.take(entry.sequence) { reply.resolve(.success(result)) }
            }
        }
        var undecided: [SlotKey: UInt64] = [:]
        while let first = self.unsettled.first, let entry = self.unsettled.withdraw(first) {
            undecided[first] = entry.sequence
        }
        self.unsettled.removeAll()
        guard let key = self.key, let counter = self.inbox?.settler.unsent else { return }
        self.handler.receivers.remove(key)
        counter.end(
            cause,
            undecided: undecided,
            unsent: unsent,
            untold: untold,
            unconfirmed: unconfirmed,
            inDoubt: self.settlesAtOnce
                ? .untilAnswer(self.proof.unproven, isAnswerable: isEndedHere) : .forGood(unconfirmed.count),
            untaken: self.inbox?.unsettledCount { undecided[$0] != nil } ?? 0
        )
        let ended = CloseReport.Receiver(
            linkName: self.status.name,
            address: self.address,
            settlements: counter
        )
        for report in self.reports { report.add(ended) }
        if !undecided.isEmpty { self.handler.endedReceivers.add(key, counter) }
        self.handler.endingReceivers.append(.init(unsent: counter, unwritten: self.unwritten))
    }

    private func logUntaken(_ count: Int, _ cause: AMQPError) {
        guard count > 0 else { return }
        self.handler.logger.info(
            "messages that no task had taken go back to their source: the link has ended",
            metadata: self.logMetadata([.messages: "\(count)"], error: cause)
        )
    }

    /// Empties what waits in Proton for room: bytes that stay there would stay in the session's window for good.
    ///
    /// Whole messages that the sender has settled stay to be taken. Returns how many unsettled ones were dropped.
    private func dropHeldBack(isStreaming: Bool) -> Int {
        var dropped = 0
        var isStreaming = isStreaming
        while !self.isDone, let delivery = self.link.current {
            if delivery.isRemotelySettled, !isStreaming, self.completeHeldBack(delivery) { continue }
            isStreaming = false
            self.dropPartial()
            self.state.drop()
            guard self.link.dropCurrent() != nil else { break }
            if !delivery.isRemotelySettled, !delivery.isAborted {
                delivery.release()
                dropped += 1
            }
            delivery.settle()
        }
        if !self.arrivals.isEmpty { self.inbox?.push(self.arrivals.take()) }
        if !self.isDone { self.session.incomingTaken() }
        return dropped
    }

    /// Reads a message to its end whatever room there is. Returns false when it is not whole, or too large.
    private func completeHeldBack(_ delivery: ProtonDelivery) -> Bool {
        guard !delivery.isPartial, !delivery.isAborted else { return false }
        let pending = delivery.pendingBytes
        guard pending <= self.largestWhole - self.partial.readableBytes, self.state.arrive()
        else { return false }
        if pending > 0 {
            let count = self.partial.writeWithUnsafeMutableBytes(minimumWritableBytes: pending) { bytes in
                self.link.receive(into: bytes.baseAddress, pending)
            }
            self.account(count)
        }
        self.completeLarge(delivery)
        return true
    }

    func release(_ slot: SlotKey) {
        if self.isLocallyOpen, self.settleStreamed(slot, .released) { return }
        guard let entry = self.unsettled[slot] else { return }
        // An incomplete message ends with the link: no task has received it.
        if slot == self.stream?.slot { return _ = self.unsettled.withdraw(slot) }
        entry.delivery.set(.released)
        self.forget(slot)
    }
}
