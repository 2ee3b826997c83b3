extension AMQPError {
    /// Whether the same attempt may succeed later, though the program changes nothing.
    ///
    /// True after a loss, a deadline, a connection that was refused, and when the peer says that it stopped, failed or had no
    /// room. False for what must be corrected first: an argument, the login, the certificate, a name that does not exist, and
    /// what the peer does not implement or allow. False also for a condition that this library does not know.
    ///
    /// It says nothing of duplicates: a message whose ``fate`` is ``Fate/inDoubt`` may come twice when it is sent again.
    public var isRetryable: Bool {
        switch self.condition {
        case .connectionLost, .idleTimeout, .timeout, .connectFailed, .wouldBlock: true
        case .connectionForced, .linkDetachForced, .resourceLimitExceeded, .resourceLocked: true
        // RabbitMQ stops in order with this condition. What cannot be repaired without the operator says so itself.
        case .internalError: self.origin == .peer
        // An orderly end without an error.
        case .closed: self.origin == .peer
        default: false
        }
    }
}
