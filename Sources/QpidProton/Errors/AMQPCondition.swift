// SPDX-License-Identifier: Apache-2.0

/// The name of an error: an open set of AMQP symbols.
///
/// Compare a condition with the constants. For a condition that a peer or your application defines, create one:
/// `AMQPCondition(rawValue: "com.example:too-late")`. The constants that begin with `local:` name errors that this side
/// found; they are never sent.
///
/// Source: AMQP 1.0 §2.8.15–2.8.18.
public struct AMQPCondition: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The AMQP symbol, for example `amqp:not-found`.
    public let rawValue: String

    /// Creates a condition from any symbol. Only ASCII can be sent.
    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    /// Creates a condition from a literal symbol.
    public init(stringLiteral value: String) {
        self.rawValue = value
    }

    /// Whether the condition names an error that this side found, which is never sent.
    var isLocal: Bool { self.rawValue.utf8.starts(with: "local:".utf8) }

    /// The symbol itself.
    public var description: String { self.rawValue }

    /// Returns whether the UTF-8 bytes are equal.
    public static func == (left: AMQPCondition, right: AMQPCondition) -> Bool {
        left.rawValue.hasSameUTF8(as: right.rawValue)
    }

    /// Hashes the UTF-8 bytes.
    public func hash(into hasher: inout Hasher) { self.rawValue.hashBytes(into: &hasher) }
}

extension AMQPCondition {
    // MARK: AMQP errors, §2.8.15

    /// An internal error of the peer.
    public static let internalError: Self = "amqp:internal-error"
    /// The requested node or another requested entity does not exist.
    public static let notFound: Self = "amqp:not-found"
    /// The login or the access rights are insufficient.
    public static let unauthorizedAccess: Self = "amqp:unauthorized-access"
    /// Data could not be decoded.
    public static let decodeError: Self = "amqp:decode-error"
    /// A limit on resources was exceeded.
    public static let resourceLimitExceeded: Self = "amqp:resource-limit-exceeded"
    /// The requested operation is not allowed.
    public static let notAllowed: Self = "amqp:not-allowed"
    /// A field holds an invalid value.
    public static let invalidField: Self = "amqp:invalid-field"
    /// The requested operation is not implemented.
    public static let notImplemented: Self = "amqp:not-implemented"
    /// Another user has locked the requested entity.
    public static let resourceLocked: Self = "amqp:resource-locked"
    /// A precondition is not met.
    public static let preconditionFailed: Self = "amqp:precondition-failed"
    /// An entity was deleted while it was in use.
    public static let resourceDeleted: Self = "amqp:resource-deleted"
    /// The peer sent a frame that is not allowed in its state.
    public static let illegalState: Self = "amqp:illegal-state"
    /// A frame does not fit into the agreed max-frame-size.
    public static let frameSizeTooSmall: Self = "amqp:frame-size-too-small"

    // MARK: Connection, session and link errors, §2.8.16–2.8.18

    /// An operator closed the connection.
    public static let connectionForced: Self = "amqp:connection:forced"
    /// The bytes on a connection are not AMQP frames.
    public static let connectionFramingError: Self = "amqp:connection:framing-error"
    /// The peer is available at another address, which the info map contains.
    public static let connectionRedirect: Self = "amqp:connection:redirect"
    /// The peer sent more transfers than the session's window allows.
    public static let sessionWindowViolation: Self = "amqp:session:window-violation"
    /// A frame names a link that is no longer attached.
    public static let sessionErrantLink: Self = "amqp:session:errant-link"
    /// A handle that is in use was attached again.
    public static let sessionHandleInUse: Self = "amqp:session:handle-in-use"
    /// A frame names a handle that is not in use.
    public static let sessionUnattachedHandle: Self = "amqp:session:unattached-handle"
    /// An operator detached the link.
    public static let linkDetachForced: Self = "amqp:link:detach-forced"
    /// The peer sent more messages than the link's credit allows.
    public static let linkTransferLimitExceeded: Self = "amqp:link:transfer-limit-exceeded"
    /// A message is larger than the link's max-message-size.
    public static let linkMessageSizeExceeded: Self = "amqp:link:message-size-exceeded"
    /// The link's node is available at another address, which the info map contains.
    public static let linkRedirect: Self = "amqp:link:redirect"
    /// Another connection attached a link of the same name, which replaces this link.
    public static let linkStolen: Self = "amqp:link:stolen"

    // MARK: Errors found on this side

    /// The waiting task was cancelled.
    public static let cancelled: Self = "local:cancelled"
    /// This side closed the connection, session or link.
    public static let closed: Self = "local:closed"
    /// The TCP connection failed: the host's name was not found, the host refused, or it is unreachable.
    public static let connectFailed: Self = "local:connect-failed"
    /// The connection was lost without a close.
    public static let connectionLost: Self = "local:connection-lost"
    /// The sender aborted the message before its end, or ended its link without an error.
    public static let aborted: Self = "local:aborted"
    /// The sender dropped a message because there was no room, or because a newer message needed the room: see
    /// ``AMQPOverflow``.
    public static let dropped: Self = "local:dropped"
    /// No byte of a message was sent before its time limit: see ``AMQPSendOptions/expiresAfter``.
    public static let expired: Self = "local:expired"
    /// No bytes arrived from the peer for the connection's `idleTimeout`.
    public static let idleTimeout: Self = "local:idle-timeout"
    /// An argument or a configuration is unusable.
    public static let invalidArgument: Self = "local:invalid-argument"
    /// A deadline passed.
    public static let timeout: Self = "local:timeout"
    /// The TLS handshake failed.
    public static let tlsFailed: Self = "local:tls-failed"
    /// There is no room or no credit now, and the call does not wait.
    public static let wouldBlock: Self = "local:would-block"
}
