// SPDX-License-Identifier: Apache-2.0

extension AMQPCondition {
    /// A message was first in doubt in too many consecutive losses, and the client does not send it again: see
    /// ``AMQPClient/Sender/Configuration/poisonLimit``.
    public static let poison: Self = "local:poison"
}

extension AMQPError {
    /// Returns the error for a message with this fate.
    func concerning(_ fate: Fate) -> AMQPError {
        var error = self
        error.fate = fate
        return error
    }

    /// Creates the error of a client's call or message.
    static func client(
        _ condition: AMQPCondition,
        _ detail: String,
        scope: Scope = .call,
        fate: Fate? = nil
    ) -> AMQPError {
        var error = AMQPError(scope: scope, condition: condition, detail: detail)
        error.fate = fate
        return error
    }

    /// This side closed the client, or one of its links.
    static let clientClosed = AMQPError(scope: .link, condition: .closed, detail: "the client is closed")
    static let senderIsClosed = AMQPError(scope: .link, condition: .closed, detail: "the sender is closed")
    static let receiverIsClosed = AMQPError(scope: .link, condition: .closed, detail: "the receiver is closed")
}
