// What becomes of a message that is not settled: the first words of the text say whether the peer may have got it.

extension AMQPError {
    /// What ended a link, for a message that the peer has not got.
    static func notSent(_ cause: AMQPError) -> AMQPError {
        AMQPError(.delivery, cause.condition, "\(Self.notSent): \(cause)", isFromPeer: cause.isFromPeer)
    }

    /// What lost the socket, for a message that was sent settled and whose bytes were on their way: the peer may have got it.
    static func lostOnItsWay(_ cause: AMQPError) -> AMQPError {
        AMQPError(.delivery, cause.condition, "sent, but not settled: \(cause)", isFromPeer: cause.isFromPeer)
    }

    /// The peer has not got the message.
    var isNotSent: Bool { self.detail.hasPrefix(Self.notSent) }

    /// The error that a part of a message was told, for the message: it has begun to be sent.
    var aborted: AMQPError {
        guard self.isNotSent else { return self }
        var error = self
        error.detail = "aborted" + self.detail.dropFirst(Self.notSent.count)
        return error
    }

    private static let notSent = "not sent"

    /// The task that waited for the outcome was cancelled.
    static func unsettled(_ transfer: AMQPTransfer) -> AMQPError {
        var error = AMQPError(.delivery, .unsettled, "sent, but not settled: the task was cancelled")
        error.transfer = transfer
        return error
    }

    static let senderClosed = AMQPError(.link, .closed, "not sent: the sender is closed")
    static let sendCancelled = AMQPError(
        .delivery,
        .cancelled,
        "not sent: the task was cancelled while it waited for room"
    )

    static let droppedForNewer = AMQPError(
        .delivery,
        .dropped,
        "not sent: dropped, for a newer message needed the room"
    )

    static func dropped(_ refusal: SendRefusal) -> AMQPError {
        var error = AMQPError(.delivery, .dropped, "not sent: dropped, \(refusal.text)")
        error.blockedBy = refusal.blockedBy
        return error
    }
}
