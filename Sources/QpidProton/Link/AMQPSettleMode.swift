/// Whether a sender settles its messages itself. Source: AMQP 1.0 §2.8.2.
public enum AMQPSenderSettleMode: Hashable, Sendable {
    /// The receiver's outcome is awaited: at least once.
    case unsettled
    /// Messages are sent settled: at most once, and no outcome is told.
    case settled
    /// Message by message, as the sender chooses.
    case mixed
}

/// When a receiver settles. Source: AMQP 1.0 §2.8.3.
public enum AMQPReceiverSettleMode: Hashable, Sendable {
    /// With the outcome.
    case first
    /// After the sender has settled on hearing the outcome.
    case second
}
