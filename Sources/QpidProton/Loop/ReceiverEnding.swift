// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore
internal import Synchronization

/// The end of a receiver: the fate of its messages, and the answers to all waiting calls.
struct ReceiverEnding {
    private let receiver: ReceiverEndpoint
    /// The error that ended the link; `nil` if a side detached without an error.
    private let error: AMQPError?
    private let cause: AMQPError
    /// Whether the peer reads outcomes. A peer that has detached does not.
    private let isHeard: Bool

    init(of receiver: ReceiverEndpoint, _ error: AMQPError?) {
        self.receiver = receiver
        self.error = error
        self.cause =
            error ?? receiver.status.endError
            ?? AMQPError(scope: .link, condition: .closed, detail: "the receiver was closed")
        self.isHeard = !receiver.isEndedByPeer && !receiver.isAbandoned
    }

    /// Ends all waits of the receiver, and releases its messages.
    func run() {
        let receiver = self.receiver
        receiver.drains.cancelWaits()
        let untaken = self.removeUntaken()
        receiver.dispositions.cancelTimer()
        receiver.account.cancelTimer()
        // The peer must read these outcomes before the detach.
        if !receiver.isEndedByPeer, receiver.session.isHeardByPeer { receiver.dispositions.sendAll(on: receiver) }
        if self.isHeard { for slot in untaken { Self.release(slot, of: receiver) } }
        let isStreaming = receiver.streams?.arriving != nil
        receiver.streams?.end(self.bodyError)
        let isHeldBack = receiver.state.message.isHeldBack
        receiver.note(.upToDate)
        let dropped = isHeldBack ? self.dropHeldBack(isStreaming: isStreaming) : 0
        receiver.dropPartial()
        if !self.isHeard || self.error != nil { self.logUntaken(untaken.count + dropped) }
        for slot in untaken { receiver.dispositions.remove(slot) }
        receiver.stopping?.end()
        self.endSettling()
        // Waiting calls fail with the end of the link, not with the end of their drain.
        receiver.inbox?.finish(self.error)
        // Messages that tasks can still receive do not count any more.
        receiver.account.add(-(receiver.account.share?.held ?? 0), of: receiver)
        receiver.promise()
        receiver.drains.end(self.cause)
    }

    /// The error of an incomplete message. A sender that ends its link without an error discards this message. Its
    /// abort may wait behind a closed window.
    private var bodyError: AMQPError {
        guard self.error == nil, self.receiver.isEndedByPeer else { return self.cause }
        return .aborted("the sender ended the link before the end of the message")
    }

    /// Removes the unsettled messages that no task has received, and returns their keys.
    ///
    /// Tasks can still receive messages that the sender has settled.
    private func removeUntaken() -> [SlotKey] {
        let receiver = self.receiver
        let isClosedInOrder = self.error == nil && self.isHeard
        if receiver.deliversUnsettledAfterEnd, receiver.stopping == nil, !isClosedInOrder {
            receiver.flushArrived()
            return []
        }
        receiver.showCredit()
        let isUnsettled = { (slot: SlotKey) in receiver.dispositions.queue[slot] != nil }
        var slots = receiver.stopping?.takeSetAside().filter(isUnsettled) ?? []
        slots += receiver.inbox?.removeUnsettled(isUnsettled) ?? []
        if !receiver.arrivals.isEmpty {
            receiver.dispositions.proof.arrived(receiver.sequence)
            var batch = receiver.arrivals.take()
            slots += batch.removeUnsettled(isUnsettled)
            receiver.inbox?.push(batch)
        }
        return slots
    }

    /// Releases a message that no task receives. An incomplete message ends with the link, because no task has received
    /// it.
    static func release(_ slot: SlotKey, of receiver: ReceiverEndpoint) {
        if receiver.isLocallyOpen, receiver.streams?.settle(slot, .released) == true { return }
        guard let entry = receiver.dispositions.queue[slot] else { return }
        if slot == receiver.streams?.arriving?.slot { return _ = receiver.dispositions.withdraw(slot) }
        entry.delivery.set(.released)
        receiver.dispositions.forget(slot)
    }

    /// Removes unsettled deliveries, and counts the dispositions that are never sent.
    private func endSettling() {
        let receiver = self.receiver
        let unsent = receiver.dispositions.queue.ripeCount + receiver.dispositions.queue.waitingCount
        let undisposed = receiver.dispositions.queue.keys(withdrawn: false)
        let unconfirmed = receiver.dispositions.queue.keys(withdrawn: true)
        receiver.dispositions.endWaits(undisposed, .notWritten(self.cause))
        receiver.dispositions.endWaits(unconfirmed, .inDoubt(self.cause))
        let undecided = receiver.dispositions.end()
        guard let key = receiver.key, let counter = receiver.inbox?.settler.unsent else { return }
        let isEndedHere = !receiver.isEndedByPeer && receiver.session.isHeardByPeer
        receiver.handler.receivers.remove(key)
        counter.end(
            self.cause,
            undecided: undecided,
            unsent: unsent,
            untold: undisposed,
            unconfirmed: unconfirmed,
            inDoubt: receiver.dispositions.settlesFirst
                ? .untilAnswer(receiver.dispositions.proof.unproven, isAnswerable: isEndedHere)
                : .forGood(unconfirmed.count),
            untaken: receiver.inbox?.unsettledCount { undecided[$0] != nil } ?? 0
        )
        let ended = CloseReport.Receiver(
            linkName: receiver.status.name,
            address: receiver.address,
            settlements: counter
        )
        for report in receiver.reports { report.add(ended) }
        let unwritten = receiver.dispositions.unwritten
        receiver.handler.decisionWrites.add(key, counter, unwritten, isDecided: undecided.isEmpty)
    }

    private func logUntaken(_ count: Int) {
        guard count > 0 else { return }
        self.receiver.handler.logger.info(
            "messages that no task had received return to their source: the link has ended",
            metadata: self.receiver.logMetadata([.messages: "\(count)"], error: self.cause)
        )
    }

    /// Drops the bytes that wait in Proton, which would otherwise occupy the session's window until its end.
    ///
    /// Tasks can still receive complete messages that the sender has settled. Returns the number of dropped unsettled
    /// messages.
    private func dropHeldBack(isStreaming: Bool) -> Int {
        let receiver = self.receiver
        var dropped = 0
        var isStreaming = isStreaming
        while !receiver.isDone, let delivery = receiver.link.current {
            if delivery.isRemotelySettled, !isStreaming, self.completeHeldBack(delivery) { continue }
            isStreaming = false
            receiver.dropPartial()
            receiver.state.drop()
            guard receiver.link.dropCurrent() != nil else { break }
            if !delivery.isRemotelySettled, !delivery.isAborted {
                delivery.release()
                dropped += 1
            }
            delivery.settle()
        }
        if !receiver.arrivals.isEmpty { receiver.inbox?.push(receiver.arrivals.take()) }
        if !receiver.isDone { receiver.session.incomingTaken() }
        return dropped
    }

    /// Reads a message to its end without regard to room. Returns false if it is incomplete or too large.
    private func completeHeldBack(_ delivery: ProtonDelivery) -> Bool {
        guard !delivery.isPartial, !delivery.isAborted else { return false }
        let pending = delivery.pendingBytes
        guard pending <= self.receiver.limits.largestWhole - self.receiver.partial.readableBytes,
            self.receiver.state.arrive()
        else { return false }
        if pending > 0 { self.receiver.gather(pending) }
        self.receiver.completeLarge(delivery)
        return true
    }
}
