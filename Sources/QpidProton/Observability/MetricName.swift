// SPDX-License-Identifier: Apache-2.0

/// The standard names of the metrics. `AMQPMetrics` and `Observability.md` list them; a test compares the lists.
enum MetricName: String, CaseIterable {
    case connections = "amqp.connections"
    case connectionsOpened = "amqp.connections_opened"
    case connectionErrors = "amqp.connection_errors"
    case outgoingBytes = "amqp.connection.outgoing_bytes"
    case socketBytes = "amqp.connection.socket_bytes"
    case linksOpened = "amqp.links_opened"
    case linksEnded = "amqp.links_ended"
    case linkBytes = "amqp.link.bytes"
    case linkMessages = "amqp.link.messages"
    case linkCredit = "amqp.link.credit"
    case linkUnsettled = "amqp.link.unsettled"
    case blocked = "amqp.link.blocked"
    case blockedNanoseconds = "amqp.link.blocked_nanoseconds"
    case messagesSent = "amqp.messages_sent"
    case bytesSent = "amqp.bytes_sent"
    case outcomes = "amqp.outcomes"
    case outcomeTime = "amqp.outcome_time"
    case messagesReceived = "amqp.messages_received"
    case bytesReceived = "amqp.bytes_received"
    case settlements = "amqp.settlements"
    case settlementsLost = "amqp.settlements_lost"
    case clientAttempts = "amqp.client.attempts"
    case clientLosses = "amqp.client.losses"
    case clientLinkLosses = "amqp.client.link_losses"
    case clientInDoubt = "amqp.client.in_doubt"
    case clientReplayed = "amqp.client.replayed"
    case clientDown = "amqp.client.down"
    case consumerHandled = "amqp.consumer.handled"
    case consumerFailed = "amqp.consumer.failed"
    case consumerRejected = "amqp.consumer.rejected"
    case consumerTime = "amqp.consumer.handler_time"
}

/// The counts of the links with one address and role.
enum LinkCount: Int, CaseIterable {
    case messagesSent, bytesSent, messagesReceived, bytesReceived
    case accepted, rejected, released, modified, settled
    case notSent, inDoubt, aborted, dropped, expired
    case decidedAccepted, decidedRejected, decidedReleased, decidedModified, decidedSettled

    /// Creates the count for the outcome or fate of an accepted message.
    init(_ answer: OutcomeBlock.Answer) {
        switch answer {
        case .success(.accepted): self = .accepted
        case .success(.rejected): self = .rejected
        case .success(.released): self = .released
        case .success(.modified): self = .modified
        case .success(.settled): self = .settled
        case .failure(let error): self = Self(error.fate)
        }
    }

    private init(_ fate: AMQPError.Fate?) {
        switch fate {
        case AMQPError.Fate.notSent: self = .notSent
        case AMQPError.Fate.aborted: self = .aborted
        case AMQPError.Fate.dropped: self = .dropped
        case AMQPError.Fate.expired: self = .expired
        default: self = .inDoubt
        }
    }

    /// Creates the count for the application's decision about a received message.
    init(deciding outcome: AMQPOutcome) {
        switch outcome {
        case .accepted: self = .decidedAccepted
        case .rejected: self = .decidedRejected
        case .released: self = .decidedReleased
        case .modified: self = .decidedModified
        case .settled: self = .decidedSettled
        }
    }

    var name: MetricName {
        switch self {
        case .messagesSent: .messagesSent
        case .bytesSent: .bytesSent
        case .messagesReceived: .messagesReceived
        case .bytesReceived: .bytesReceived
        case .accepted, .rejected, .released, .modified, .settled, .notSent, .inDoubt, .aborted, .dropped, .expired:
            .outcomes
        case .decidedAccepted, .decidedRejected, .decidedReleased, .decidedModified, .decidedSettled: .settlements
        }
    }

    /// The dimension `outcome`; `nil` for metrics without it.
    var outcome: String? {
        switch self {
        case .messagesSent, .bytesSent, .messagesReceived, .bytesReceived: nil
        case .accepted, .decidedAccepted: "accepted"
        case .rejected, .decidedRejected: "rejected"
        case .released, .decidedReleased: "released"
        case .modified, .decidedModified: "modified"
        case .settled, .decidedSettled: "settled"
        case .notSent: "not_sent"
        case .inDoubt: "in_doubt"
        case .aborted: "aborted"
        case .dropped: "dropped"
        case .expired: "expired"
        }
    }
}

extension AMQPCondition {
    /// The dimension `condition`, from a set that no peer can enlarge.
    var dimension: String { Self.named.contains(self) ? self.rawValue : MetricsHub.other }

    private static let named: Set<AMQPCondition> = [
        .internalError, .notFound, .unauthorizedAccess, .decodeError, .resourceLimitExceeded, .notAllowed,
        .invalidField,
        .notImplemented, .resourceLocked, .preconditionFailed, .resourceDeleted, .illegalState, .frameSizeTooSmall,
        .connectionForced, .connectionFramingError, .connectionRedirect, .sessionWindowViolation, .sessionErrantLink,
        .sessionHandleInUse, .sessionUnattachedHandle, .linkDetachForced, .linkTransferLimitExceeded,
        .linkMessageSizeExceeded, .linkRedirect, .linkStolen, .cancelled, .closed, .connectFailed, .connectionLost,
        .aborted, .dropped, .expired, .idleTimeout, .invalidArgument, .timeout, .tlsFailed, .wouldBlock,
    ]
}
