extension Sequence<AMQPDelivery> {
    /// Takes responsibility for all of them.
    ///
    /// Settles as ``AMQPDelivery/accept(includingEarlier:)`` on each does, and costs less: they go to the connection together. Those that are
    /// settled already are passed over. Never suspends.
    ///
    /// - Returns: ``AMQPSettlement/stale`` if the link of one of them had ended.
    ///
    /// Source: AMQP 1.0 §3.4.2, and the ranges of §2.7.6.
    @discardableResult
    public func acceptAll() -> AMQPSettlement { self.settleAll(.accepted) }

    /// Says of all of them that they are invalid; see ``AMQPDelivery/reject(_:)``.
    ///
    /// - Parameter error: What is wrong with them, for the sender.
    @discardableResult
    public func rejectAll(_ error: AMQPError? = nil) -> AMQPSettlement { self.settleAll(.rejected(error)) }

    /// Gives all of them back, as not acted upon; see ``AMQPDelivery/release()``.
    @discardableResult
    public func releaseAll() -> AMQPSettlement { self.settleAll(.released) }

    /// Gives all of them back, changed; see ``AMQPDelivery/modify(_:)``.
    ///
    /// - Parameter changes: The changes.
    @discardableResult
    public func modifyAll(_ changes: AMQPModified) -> AMQPSettlement { self.settleAll(.modified(changes)) }

    private func settleAll(_ outcome: AMQPOutcome) -> AMQPSettlement {
        // One call for all, where they lie in an array: a sequence that is not known here is slow to walk.
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
            // Deliveries of one receiver go together.
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
