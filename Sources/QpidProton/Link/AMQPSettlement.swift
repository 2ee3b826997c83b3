/// What a call that settles a delivery has done: see ``AMQPDelivery/accept(includingEarlier:)``.
public enum AMQPSettlement: Hashable, Sendable {
    /// The decision was handed to the connection. This is no promise: ``AMQPDelivery/settled()`` tells how it ended.
    case queued
    /// The link had ended: the decision goes nowhere. The message goes back to its source, unless an earlier decision about it was
    /// written.
    case stale
}

/// How the settlement of a delivery ended: see ``AMQPDelivery/settled()``.
public enum AMQPSettlementResult: Hashable, Sendable {
    /// The decision was written to the socket, and the delivery is settled on this side. Only what the peer does afterwards
    /// proves that it has read it.
    case settled
    /// The sender settled the delivery, with this final state. In ``AMQPReceiverSettleMode/second`` it follows the decision,
    /// and may differ from it: a service can answer that a lock was lost. Source: AMQP 1.0 §2.6.12.
    case settledBySender(AMQPOutcome)
    /// The link ended before the decision was written: the message goes back to its source.
    case notWritten(AMQPError)
    /// The decision was on its way when the link ended, or the sender had to settle and did not.
    case inDoubt(AMQPError)
}

extension AMQPDelivery {
    /// Suspends until the settlement of the delivery has ended, and tells how.
    ///
    /// Call it after the decision, or before it: without a decision it suspends until the link ends. In
    /// ``AMQPReceiverSettleMode/first`` it ends when the decision has been written, in ``AMQPReceiverSettleMode/second`` when the
    /// sender has settled.
    ///
    /// - Returns: How it ended; `.settled` for a message that the sender had settled when it sent it.
    /// - Throws: `AMQPError` with ``AMQPCondition/cancelled`` when the task is cancelled, which ends the wait alone.
    ///
    /// Source: AMQP 1.0 §2.6.12, `pn_delivery_settled`.
    public func settled() async throws(AMQPError) -> AMQPSettlementResult {
        guard let settler = self.settler else { return .settled }
        return try await settler.result(self.key, self.sequence).value()
    }
}

extension AMQPDelivery.Settler {
    fileprivate func result(_ slot: SlotKey, _ sequence: UInt64) -> Reply<AMQPSettlementResult> {
        let reply = Reply<AMQPSettlementResult>()
        let (receiver, unsent) = (self.receiver, self.unsent)
        self.mailbox.run(
            { handler in
                if let receiver = handler.receivers[receiver] {
                    receiver.awaitSettlement(slot, sequence, reply)
                } else if unsent.wasTold(slot),
                    let ending = handler.endingReceivers.first(where: { $0.unsent === unsent })
                {
                    handler.answer([reply], afterWrite: ending.unwritten.lastWrite)
                } else {
                    reply.resolve(.success(unsent.result(of: slot)))
                }
            },
            otherwise: { _ in reply.resolve(.success(unsent.result(of: slot))) }
        )
        return reply
    }
}
