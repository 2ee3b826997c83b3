// SPDX-License-Identifier: Apache-2.0

/// The reason why there is no room for a message now.
struct SendRefusal: Equatable, Sendable {
    /// The level that refused a message.
    enum Level: Equatable, Sendable {
        case link, session, connection, budget
        /// A message that the application creates while it is sent. Other messages of the link wait for its end.
        case stream
    }

    let level: Level
    /// The bytes of the message.
    let bytes: Int
    /// The limit of the level, and its low mark.
    let high: Int
    let low: Int
    /// The bytes on the level.
    let used: Int
    /// The cause that blocks the link with the most bytes on the level; `nil` if this connection has no such link.
    let cause: LaneCause?

    /// The causes, outermost first.
    var blockedBy: [AMQPBlockCause] {
        let full: AMQPBlockCause =
            switch self.level {
            case .link: .linkLimit
            case .session: .sessionLimit
            case .connection: .connectionLimit
            case .budget: .memoryBudget
            case .stream: .stream
            }
        return [full] + (self.cause.map { [$0.blockCause] } ?? [])
    }

    /// The error text, with the figures of the level.
    var text: String {
        if self.level == .stream {
            let reason = self.cause.map { " because \($0.blockCause)" } ?? ""
            return "a streamed message of the link has not ended\(reason); the link accepts more after its end"
        }
        let name =
            switch self.level {
            case .link: "the link's send limit"
            case .session: "the session's send limit"
            case .connection: "the connection's send limit"
            case .budget: "the memory budget"
            case .stream: "the stream"
            }
        let reason = self.cause.map { " because \($0.blockCause)" } ?? ""
        let rest =
            self.bytes <= self.high - self.used
            ? "more is accepted when \(AMQPByteCount(self.low)) or less wait"
            : "the message has \(self.bytes) bytes"
        return "\(name) of \(AMQPByteCount(self.high)) is full: \(self.used) bytes wait\(reason); \(rest)"
    }

    var error: AMQPError {
        var error = AMQPError(condition: .wouldBlock, detail: self.text).telling(.notSent)
        error.blockedBy = self.blockedBy
        return error
    }
}

extension AMQPError {
    static func dropped(_ refusal: SendRefusal) -> AMQPError {
        var error = AMQPError(scope: .delivery, condition: .dropped, detail: refusal.text, fate: .dropped)
        error.blockedBy = refusal.blockedBy
        return error
    }
}
