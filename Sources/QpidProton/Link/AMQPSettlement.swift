/// The result of a call that settles a delivery: see ``AMQPDelivery/accept(includingEarlier:)``.
public enum AMQPSettlement: Hashable, Sendable {
    /// The decision was handed to the connection. This is no promise: ``AMQPDelivery/settled()`` returns how it ended.
    case queued
    /// The link had ended, so the decision does not reach the sender.
    ///
    /// The message returns to its source, unless an earlier decision about it was written.
    case stale
}

/// The result of the settlement of a delivery: see ``AMQPDelivery/settled()``.
public enum AMQPSettlementResult: Hashable, Sendable {
    /// The decision was written to the socket, and the delivery is settled on this side.
    ///
    /// Only a later action of the peer proves that the peer has read the decision.
    case settled
    /// The sender settled the delivery, with this final state.
    ///
    /// In ``AMQPReceiverSettleMode/second`` the final state follows the decision, and may differ from it: a service can
    /// report a lost lock.
    ///
    /// Source: AMQP 1.0 §2.6.12.
    case settledBySender(AMQPOutcome)
    /// The link ended before the decision was written: the message returns to its source.
    case notWritten(AMQPError)
    /// The decision was on its way when the link ended, or the sender had to settle and did not.
    case inDoubt(AMQPError)
}

extension AMQPDelivery {
    /// Suspends until the settlement of the delivery has ended, and returns its result.
    ///
    /// Call it before or after the decision; without a decision it suspends until the link ends. In
    /// ``AMQPReceiverSettleMode/first`` the settlement ends when the decision has been written. In
    /// ``AMQPReceiverSettleMode/second`` it ends when the sender has settled.
    ///
    /// - Returns: The result; `.settled` if the sender sent the message settled.
    /// - Throws: `AMQPError` with ``AMQPCondition/cancelled`` if the task is cancelled, which ends only the wait.
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
