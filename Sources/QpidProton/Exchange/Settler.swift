/// The destination of decisions about one receiver's deliveries. It is separate from the outbox, whose memory changes
/// all the time, because every copy of a delivery counts a reference here.
final class Settler: Sendable {
    let outbox: Outbox
    let receiver: SlotKey
    /// The decisions that were not sent.
    let unsent: UnsentSettlements

    init(outbox: Outbox, receiver: SlotKey, unsent: UnsentSettlements) {
        self.outbox = outbox
        self.receiver = receiver
        self.unsent = unsent
    }

    func settle(_ settlement: Settlement) -> AMQPSettlement {
        guard self.outbox.settle(settlement) else {
            self.unsent.add(CollectionOfOne(settlement))
            return .stale
        }
        return self.unsent.hasEnded ? .stale : .queued
    }

    /// Settles a batch.
    func settle(contentsOf settlements: [Settlement]) -> AMQPSettlement {
        guard self.outbox.settle(contentsOf: settlements) else {
            self.unsent.add(settlements)
            return .stale
        }
        return self.unsent.hasEnded ? .stale : .queued
    }
}
