// SPDX-License-Identifier: Apache-2.0

extension AMQPReceiver {
    /// Sets another rate limit, or removes it, while the receiver is running. Never suspends.
    ///
    /// The receiver does not withdraw credit that the peer already has. A new limit does not renew the burst: the
    /// remaining allowance stays as it is.
    ///
    /// - Parameter limit: The new limit; `nil` for no limit.
    /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument`` if a rate is not positive and finite.
    public func setRateLimit(_ limit: AMQPRateLimit?) throws(AMQPError) {
        try limit?.validate()
        self.outbox.post(.receiver(self.core.status, .setRate(limit)))
    }
}
