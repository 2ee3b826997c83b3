// SPDX-License-Identifier: Apache-2.0

// The errors of unsettled messages.

extension AMQPError {
    /// Returns the error with the fate of a message.
    func telling(_ fate: Fate) -> AMQPError {
        var error = self
        error.fate = fate
        return error
    }

    /// The error of one part of a message, as the error of the partly sent message.
    var aborted: AMQPError { self.fate == .notSent ? self.telling(.aborted) : self }

    static let senderClosed = AMQPError(
        scope: .link,
        condition: .closed,
        detail: "the sender is closed",
        fate: .notSent
    )
    static let sendCancelled = AMQPError(
        scope: .call,
        condition: .cancelled,
        detail: "the task was cancelled while it waited for room",
        fate: .notSent
    )
    static let droppedForNewer = AMQPError(
        scope: .delivery,
        condition: .dropped,
        detail: "a newer message replaced it at the limit",
        fate: .dropped
    )

    /// Returns the error for an incomplete message that its sender discards.
    static func aborted(_ detail: String) -> AMQPError {
        AMQPError(scope: .delivery, condition: .aborted, detail: detail, origin: .peer)
    }

    static func expired(after limit: Duration) -> AMQPError {
        let text =
            limit > .zero
            ? "the message expired: no byte was sent within \(limit)" : "the message could not leave at once"
        return AMQPError(scope: .delivery, condition: .expired, detail: text, fate: .expired)
    }
}
