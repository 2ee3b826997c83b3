// SPDX-License-Identifier: Apache-2.0

extension AMQPSender {
    /// Sets another rate limit, or removes it, while the sender is running. Never suspends.
    ///
    /// A new limit does not renew the burst: the remaining allowance stays as it is.
    ///
    /// - Parameter limit: The new limit; `nil` for no limit.
    /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument`` if a rate is not positive and finite.
    public func setRateLimit(_ limit: AMQPRateLimit?) throws(AMQPError) {
        try limit?.validate()
        self.outbox.post(.sender(self.core.status, .setRate(limit)))
    }
}
