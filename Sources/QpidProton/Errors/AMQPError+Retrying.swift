// SPDX-License-Identifier: Apache-2.0

extension AMQPError {
    /// Whether the same attempt may succeed later without a change to the program.
    ///
    /// True after a loss, a missed deadline or a refused connection. True also if the peer reports that it stopped,
    /// failed or had no room.
    ///
    /// False if something must be corrected first: an argument, the login, the certificate, or a name that does not
    /// exist. False also if the peer does not implement or allow the request, and for a condition that this library
    /// does not know. False for a message that expired or that an overflow policy dropped.
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
