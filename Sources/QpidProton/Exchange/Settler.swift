// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The destination of decisions about one receiver's deliveries. Every copy of a delivery counts a reference to this
/// object. So it is separate from the outbox, whose memory changes constantly.
final class Settler: Sendable {
    let outbox: Outbox
    let receiver: SlotKey
    /// The decisions that were not sent.
    let unsent: UnsentSettlements
    private let isWatched = Atomic(false)
    private let watcher = Mutex<(@Sendable (_ sequence: UInt64, _ includesEarlier: Bool) -> Void)?>(nil)

    init(outbox: Outbox, receiver: SlotKey, unsent: UnsentSettlements) {
        self.outbox = outbox
        self.receiver = receiver
        self.unsent = unsent
    }

    func settle(_ settlement: Settlement) -> AMQPSettlement {
        // Before the post: the loop may send the decision and end the link before the call returns.
        let isStale = self.unsent.hasEnded
        guard self.outbox.settle(settlement) else {
            self.unsent.add(CollectionOfOne(settlement))
            return .stale
        }
        return isStale ? .stale : self.queued(CollectionOfOne(settlement))
    }

    /// Settles a batch.
    func settle(contentsOf settlements: [Settlement]) -> AMQPSettlement {
        let isStale = self.unsent.hasEnded
        guard self.outbox.settle(contentsOf: settlements) else {
            self.unsent.add(settlements)
            return .stale
        }
        return isStale ? .stale : self.queued(settlements)
    }

    @inline(__always)
    private func queued(_ settlements: some Collection<Settlement>) -> AMQPSettlement {
        if self.isWatched.load(ordering: .acquiring) { self.tell(settlements) }
        return .queued
    }

    private func tell(_ settlements: some Collection<Settlement>) {
        guard let body = self.watcher.withLock({ $0 }) else { return }
        for settlement in settlements { body(settlement.sequence, settlement.includesEarlier) }
    }

    /// Calls `body` with each decision that is handed to the connection from now on.
    func watch(_ body: @escaping @Sendable (_ sequence: UInt64, _ includesEarlier: Bool) -> Void) {
        self.watcher.withLock { $0 = body }
        self.isWatched.store(true, ordering: .releasing)
    }
}
