// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The end of a receiver in three steps: stop, settle, detach.
final class ReceiverStop {
    private unowned let receiver: ReceiverEndpoint
    private var replies: [() -> Void] = []
    private var timer: LoopTimer?
    /// Messages that no task receives, in order. The receiver releases them once no more messages can arrive. Earlier,
    /// the peer could send them again for the remaining credit.
    private var setAside: [SlotKey] = []

    init(of receiver: ReceiverEndpoint) {
        self.receiver = receiver
    }

    /// Waits until the application has settled its messages, and then closes the link.
    ///
    /// - Parameters:
    ///   - limit: The time to wait for the application.
    ///   - done: Called when the link has ended on this side.
    func wait(for limit: Duration, isFirst: Bool, _ done: @escaping () -> Void) {
        self.replies.append(done)
        if isFirst { self.setAsideUntaken() }
        guard limit > .zero else { return self.receiver.close(nil) }
        let timer = LoopTimer(of: self.receiver.handler, in: limit) { [unowned self] in self.receiver.close(nil) }
        self.timer?.cancel()
        self.timer = timer
        guard isFirst else { return self.closeIfSettled() }
        self.receiver.drains.pause(Reply())
    }

    private func isUnsettled(_ slot: SlotKey) -> Bool { self.receiver.dispositions.queue[slot] != nil }

    private func setAsideUntaken() {
        self.setAside += self.receiver.inbox?.removeUnsettled(self.isUnsettled) ?? []
    }

    /// Sets received messages aside. The receiver cannot release messages that the sender has settled, so tasks still
    /// receive them.
    func setAside(_ batch: Arrivals.Batch) {
        var batch = batch
        self.setAside += batch.removeUnsettled(self.isUnsettled)
        self.receiver.inbox?.push(batch)
    }

    /// Releases the messages set aside, once no more messages arrive or the peer has not answered in time.
    func becameQuiet() {
        for slot in self.takeSetAside() { ReceiverEnding.release(slot, of: self.receiver) }
        self.closeIfSettled()
    }

    /// Removes and returns the messages set aside.
    func takeSetAside() -> [SlotKey] {
        defer { self.setAside = [] }
        return self.setAside
    }

    /// Closes the link if the application holds no message that it could settle.
    func closeIfSettled() {
        guard self.receiver.state.purpose == .stopped, self.receiver.isLocallyOpen,
            self.receiver.dispositions.queue.orderedCount == 0
        else { return }
        self.receiver.close(nil)
    }

    /// Continues the closes that waited for the application, because the link has ended.
    func end() {
        self.timer?.cancel()
        let replies = self.replies
        self.replies = []
        for reply in replies { reply() }
    }
}
