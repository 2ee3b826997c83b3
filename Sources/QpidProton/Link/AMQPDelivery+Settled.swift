// SPDX-License-Identifier: Apache-2.0

extension AMQPDelivery {
    /// Suspends until the settlement of the delivery has ended, and returns its result.
    ///
    /// You can call this method before or after the decision. Without a decision it suspends until the link ends. In
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

extension Settler {
    fileprivate func result(_ slot: SlotKey, _ sequence: UInt64) -> Reply<AMQPSettlementResult> {
        let reply = Reply<AMQPSettlementResult>()
        let isPosted = self.outbox.post(.connection(.awaitSettlement(self, slot, sequence: sequence, reply)))
        if !isPosted { reply.resolve(.success(self.unsent.result(of: slot))) }
        return reply
    }
}
