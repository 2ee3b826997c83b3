internal import NIOCore

extension AMQPReceiver {
    /// Sets another rate limit, or takes it away, while the receiver is running. Never suspends.
    ///
    /// Credit that the peer has already is not taken back. What may be used at once is not given anew: what is left of it is
    /// kept.
    ///
    /// - Parameter limit: The limit from now on; nil for none.
    /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument`` when a rate is not positive and finite.
    public func setRateLimit(_ limit: AMQPRateLimit?) throws(AMQPError) {
        try limit?.validate()
        let endpoint = self.endpoint
        self.mailbox.run { _ in endpoint.value.setRate(limit) }
    }
}
