// SPDX-License-Identifier: Apache-2.0

/// The result of a call that settles a delivery: see ``AMQPDelivery/accept(includingEarlier:)``.
public enum AMQPSettlement: Hashable, Sendable {
    /// The connection has received the decision and has not written it yet. ``AMQPDelivery/settled()`` returns the
    /// result.
    case queued
    /// The link had ended, so the decision does not reach the sender.
    ///
    /// The message returns to its source, unless an earlier decision about it was written.
    case stale
}

/// The result of the settlement of a delivery: see ``AMQPDelivery/settled()``.
public enum AMQPSettlementResult: Hashable, Sendable {
    /// The decision was written to the socket, and the delivery is settled on this side.
    ///
    /// Only a later action of the peer proves that the peer has read the decision.
    case settled
    /// The sender settled the delivery, with this final state.
    ///
    /// In ``AMQPReceiverSettleMode/second`` the final state follows the decision, and may differ from it: a service can
    /// report a lost lock.
    ///
    /// Source: AMQP 1.0 §2.6.12.
    case settledBySender(AMQPOutcome)
    /// The link ended before the decision was written: the message returns to its source.
    case notWritten(AMQPError)
    /// The decision was on its way when the link ended, or the sender did not settle although the settle mode required
    /// it.
    case inDoubt(AMQPError)
}
