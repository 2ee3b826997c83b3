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
    /// The sender drops its oldest messages that have not begun to leave, until there is room.
    ///
    /// If this cannot free enough, the sender drops only the new message. That happens when others fill the limit or
    /// the remaining messages have begun to leave.
    case dropOldest
    /// The sender drops the new message.
    case dropNewest
}
