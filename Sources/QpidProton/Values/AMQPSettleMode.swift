// SPDX-License-Identifier: Apache-2.0

/// Whether a sender settles its messages itself. Source: AMQP 1.0 §2.8.2.
public enum AMQPSenderSettleMode: Hashable, Sendable {
    /// The sender awaits the receiver's outcome: at least once.
    case unsettled
    /// The sender sends messages settled: at most once, and without an outcome.
    case settled
    /// The sender chooses for each message.
    case mixed
}

/// The time at which a receiver settles. Source: AMQP 1.0 §2.8.3.
public enum AMQPReceiverSettleMode: Hashable, Sendable {
    /// The receiver settles when it decides the outcome.
    case first
    /// The receiver settles after the sender, which settles when it receives the outcome.
    case second
}
