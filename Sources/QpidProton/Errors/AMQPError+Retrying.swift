// SPDX-License-Identifier: Apache-2.0

extension AMQPError {
    /// Whether the same attempt may succeed later without a change to the program.
    ///
    /// The value is true after a loss, a missed deadline or a refused connection. It is also true if the peer reports
    /// that it stopped, failed or had no room.
    ///
    /// The value is false if you must first correct an argument, the login, the certificate, or a name that does not
    /// exist. It is false if the peer does not implement or allow the request, and for an unknown condition. It is also
    /// false for a message that expired or that an overflow policy dropped.
    ///
    /// The value does not consider duplicates: a message whose ``fate`` is ``Fate/inDoubt`` may arrive twice if it is
    /// sent again.
    public var isRetryable: Bool {
        switch self.condition {
        case .connectionLost, .idleTimeout, .timeout, .connectFailed, .wouldBlock: true
        case .connectionForced, .linkDetachForced, .resourceLimitExceeded, .resourceLocked: true
        // RabbitMQ shuts down with this condition. Faults for the operator have their own conditions.
        case .internalError: self.origin == .peer
        // An orderly end without an error.
        case .closed: self.origin == .peer
        default: false
        }
    }
}
