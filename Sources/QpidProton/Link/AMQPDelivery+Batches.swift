// SPDX-License-Identifier: Apache-2.0

extension Sequence<AMQPDelivery> {
    /// Accepts all deliveries and the responsibility for their messages.
    ///
    /// Has the same effect as ``AMQPDelivery/accept(includingEarlier:)`` on each delivery. It costs less, because the
    /// connection receives all decisions together. Skips deliveries that are already settled. Never suspends.
    ///
    /// - Returns: ``AMQPSettlement/stale`` if the link of one of the deliveries had ended.
    ///
    /// Source: AMQP 1.0 §3.4.2, and the ranges of §2.7.6.
    @discardableResult
    public func acceptAll() -> AMQPSettlement { self.settleAll(.accepted) }

    /// Rejects all deliveries as invalid; see ``AMQPDelivery/reject(_:)``.
    ///
    /// - Parameter error: The reason that the sender receives.
    @discardableResult
    public func rejectAll(_ error: AMQPError? = nil) -> AMQPSettlement { self.settleAll(.rejected(error)) }

    /// Releases all deliveries without acting on them; see ``AMQPDelivery/release()``.
    @discardableResult
    public func releaseAll() -> AMQPSettlement { self.settleAll(.released) }

    /// Returns all deliveries to their source with changes; see ``AMQPDelivery/modify(_:)``.
    ///
    /// - Parameter changes: The changes.
    @discardableResult
    public func modifyAll(_ changes: AMQPModified) -> AMQPSettlement { self.settleAll(.modified(changes)) }

    private func settleAll(_ outcome: AMQPOutcome) -> AMQPSettlement {
        // An array is settled in one call without a copy, because iterating an unknown sequence is slow.
        self.withContiguousStorageIfAvailable { AMQPDelivery.settle($0, outcome) }
            ?? Array(self).withUnsafeBufferPointer { AMQPDelivery.settle($0, outcome) }
    }
}

extension AMQPDelivery {
    fileprivate static func settle(
        _ deliveries: UnsafeBufferPointer<AMQPDelivery>,
        _ outcome: AMQPOutcome
    ) -> AMQPSettlement {
        var result = AMQPSettlement.queued
        var settlements: [Settlement] = []
        settlements.reserveCapacity(deliveries.count)
        var start = deliveries.startIndex
        while start < deliveries.endIndex {
            // Deliveries of one receiver are settled together.
            let settler = deliveries[start].settler
            var index = start
            if let settler {
                let (identity, receiver) = (ObjectIdentifier(settler), settler.receiver)
                while index < deliveries.endIndex, deliveries[index].isSettled(by: identity) {
                    settlements.append(deliveries[index].settlement(outcome, of: receiver))
                    index += 1
                }
            } else {
                index += 1
            }
            if settler?.settle(contentsOf: settlements) == .stale { result = .stale }
            settlements.removeAll(keepingCapacity: true)
            start = index
        }
        return result
    }
}
