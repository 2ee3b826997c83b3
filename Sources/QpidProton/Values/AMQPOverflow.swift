// SPDX-License-Identifier: Apache-2.0

/// The policy of ``AMQPSender/enqueue(_:settled:options:)`` and ``AMQPSender/send(_:settled:options:)`` for a message
/// without room.
///
/// ``AMQPSender/trySend(_:settled:options:)`` throws under every policy.
public enum AMQPOverflow: Hashable, Sendable, CaseIterable {
    /// The call suspends until there is room.
    case suspend
    /// The call throws ``AMQPCondition/wouldBlock``, with the causes in ``AMQPError/blockedBy``.
    case fail
    /// The sender drops its oldest messages, except those that are already being sent, until there is room.
    ///
    /// If this cannot free enough room, the sender drops only the new message. The cause is then that other senders
    /// fill the limit, or that the remaining messages are already being sent.
    case dropOldest
    /// The sender drops the new message.
    case dropNewest
}
