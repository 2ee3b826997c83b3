// SPDX-License-Identifier: Apache-2.0

/// The receiver's decision about a message. Source: AMQP 1.0 §3.4.
public enum AMQPOutcome: Hashable, Sendable {
    /// The receiver has accepted responsibility for the message.
    case accepted
    /// The receiver rejected the message as invalid; the error holds the reason if the peer sent one.
    case rejected(AMQPError?)
    /// The receiver has not acted and will not act on the message: the message may be delivered again, here or
    /// elsewhere.
    case released
    /// Like `released`, with changes to the message at its source.
    case modified(AMQPModified)
    /// The message was settled without an outcome: it was sent settled, or the peer sent no outcome.
    case settled
}

extension AMQPOutcome: CustomStringConvertible {
    /// The outcome in plain words, with the reason that the peer sent.
    public var description: String {
        switch self {
        case .accepted: return "accepted"
        case .released: return "released"
        case .settled: return "settled without an outcome"
        case .rejected(nil): return "rejected"
        case .rejected(let error?):
            let reason = [error.condition.rawValue, error.detail].filter { !$0.isEmpty }.joined(separator: ": ")
            let info = error.info.isEmpty ? "" : " \(error.info)"
            return "rejected: \(reason)\(info)".onOneLine
        case .modified(let changes): return changes == AMQPModified() ? "modified" : "modified: \(changes)"
        }
    }
}

extension AMQPModified: CustomStringConvertible {
    /// The changes in plain words.
    public var description: String {
        let changes = [
            self.deliveryFailed ? "delivery failed" : nil,
            self.undeliverableHere ? "undeliverable here" : nil,
            self.messageAnnotations.isEmpty ? nil : "annotations \(self.messageAnnotations)",
        ].compactMap(\.self)
        return changes.isEmpty ? "no changes" : changes.joined(separator: ", ")
    }
}

/// Changes to a message at its source. Source: AMQP 1.0 §3.4.5.
public struct AMQPModified: Hashable, Sendable {
    /// Whether the attempt counts as a failed delivery and increments the message's delivery-count.
    public var deliveryFailed: Bool
    /// Whether the message must not be delivered to this receiver again.
    public var undeliverableHere: Bool
    /// The annotations to merge into the message's annotations.
    public var messageAnnotations: AMQPMap

    /// Creates the changes of a `modified` outcome.
    ///
    /// - Parameters:
    ///   - deliveryFailed: Counts the attempt as failed.
    ///   - undeliverableHere: Excludes this receiver from further deliveries of the message.
    ///   - messageAnnotations: Merged into the message's annotations.
    public init(deliveryFailed: Bool = false, undeliverableHere: Bool = false, messageAnnotations: AMQPMap = [:]) {
        self.deliveryFailed = deliveryFailed
        self.undeliverableHere = undeliverableHere
        self.messageAnnotations = messageAnnotations
    }
}
