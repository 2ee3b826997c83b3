/// What ``AMQPSender/enqueue(_:settled:options:)`` and ``AMQPSender/send(_:settled:options:)`` do with a message for which there is no room.
///
/// ``AMQPSender/trySend(_:settled:options:)`` throws whatever is chosen.
public enum AMQPOverflow: Hashable, Sendable, CaseIterable {
    /// They suspend until there is room.
    case suspend
    /// They throw ``AMQPCondition/wouldBlock`` with the reason in ``AMQPError/blockedBy``.
    case fail
    /// The oldest messages of the sender that have not begun to be sent are dropped until there is room. Where that would not
    /// make enough, because others fill the limit or what is left has begun, the new message is dropped alone.
    case dropOldest
    /// The new message is dropped.
    case dropNewest
}
