extension Sequence<AMQPDelivery> {
    /// Takes responsibility for all of them.
    ///
    /// Settles as ``AMQPDelivery/accept()`` on each does, and costs less: they go to the connection together. Those that are
    /// settled already are passed over. Never suspends.
    ///
    /// Source: AMQP 1.0 §3.4.2, and the ranges of §2.7.6.
    public func acceptAll() { self.settleAll(.accepted) }

    /// Says of all of them that they are invalid; see ``AMQPDelivery/reject(_:)``.
    ///
    /// - Parameter error: What is wrong with them, for the sender.
    public func rejectAll(_ error: AMQPError? = nil) { self.settleAll(.rejected(error)) }

    /// Gives all of them back, as not acted upon; see ``AMQPDelivery/release()``.
    public func releaseAll() { self.settleAll(.released) }

    /// Gives all of them back, changed; see ``AMQPDelivery/modify(_:)``.
    ///
    /// - Parameter changes: The changes.
    public func modifyAll(_ changes: AMQPModified) { self.settleAll(.modified(changes)) }

    private func settleAll(_ outcome: AMQPOutcome) {
        // One call for all, where they lie in an array: a sequence that is not known here is slow to walk.
        let isDone: Void? = self.withContiguousStorageIfAvailable { AMQPDelivery.settle($0, outcome) }
        if isDone == nil { Array(self).withUnsafeBufferPointer { AMQPDelivery.settle($0, outcome) } }
    }
}

extension AMQPDelivery {
    fileprivate static func settle(_ deliveries: UnsafeBufferPointer<AMQPDelivery>, _ outcome: AMQPOutcome) {
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
            settler?.settle(contentsOf: settlements)
            settlements.removeAll(keepingCapacity: true)
            start = index
        }
    }
}
