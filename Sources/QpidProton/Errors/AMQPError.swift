// SPDX-License-Identifier: Apache-2.0

// rooms: AMQPTracker: an error stores the tracker of its message as a value, and calls none of its functions.

/// The only error type that this library throws.
///
/// The fields are for decisions in code. ``scope`` names the part that ended, ``origin`` the side that ended it and
/// ``ending`` the kind of end. ``condition`` names the error, ``fate`` is the state of a message, and ``isRetryable``
/// is whether a retry may succeed. ``detail`` is a readable text, and ``info`` holds further data from the peer. An
/// error never contains a password.
///
/// Source: AMQP 1.0 §2.8.14.
public struct AMQPError: Error, Sendable {
    /// The part that ended with an error.
    public struct Scope: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String { case connection, session, link, delivery, call }
        private let kind: Kind

        /// The connection with all its sessions and links.
        public static let connection = Self(kind: .connection)
        /// The session with all its links.
        public static let session = Self(kind: .session)
        /// The link.
        public static let link = Self(kind: .link)
        /// One message; its link stays open.
        public static let delivery = Self(kind: .delivery)
        /// Only the call: an argument, a deadline, a cancellation.
        public static let call = Self(kind: .call)

        /// The name of the scope.
        public var description: String { self.kind.rawValue }
    }

    /// The side that found the error, or that ended the connection, session or link.
    public enum Origin: String, Hashable, Sendable, CustomStringConvertible {
        /// The peer sent the error.
        case peer
        /// This side found the error.
        case local

        /// The name of the origin.
        public var description: String { self.rawValue }
    }

    /// The kind of end of a connection, session or link: an open set.
    public struct Ending: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String { case closed, detached, lost, refused }
        private let kind: Kind

        /// One side closed the connection, ended the session or closed the link.
        ///
        /// Source: AMQP 1.0 §2.4.3, §2.5.3 and §2.6.4.
        public static let closed = Self(kind: .closed)
        /// One side detached the link without closing it: a link of the same name can resume it.
        ///
        /// Source: AMQP 1.0 §2.6.3.
        public static let detached = Self(kind: .detached)
        /// The socket was lost, or the peer sent nothing for the idle timeout.
        public static let lost = Self(kind: .lost)
        /// The connection, session or link never opened: TCP, TLS or the login failed, or the peer refused the open,
        /// begin or attach.
        public static let refused = Self(kind: .refused)

        /// The name of the ending.
        public var description: String { self.kind.rawValue }
    }

    /// The state of a message that the application has submitted for sending: an open set.
    public struct Fate: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case notSent = "not sent"
            case inDoubt = "in doubt"
            case aborted, dropped, expired
        }
        private let kind: Kind

        /// No byte of the message was sent: the peer does not have the message, and a retry makes no duplicate.
        public static let notSent = Self(kind: .notSent)
        /// The message was written, or was on its way, and is not settled: the peer may have it.
        ///
        /// While its link is open, ``AMQPError/tracker`` can still report the outcome.
        public static let inDoubt = Self(kind: .inDoubt)
        /// Only a part of the message was sent, and the peer discards it. This side aborted the message, or the link
        /// ended before the last part.
        ///
        /// Source: AMQP 1.0 §2.7.5, `aborted`.
        public static let aborted = Self(kind: .aborted)
        /// This side dropped the message for lack of room, before it sent any byte: see ``AMQPOverflow``.
        public static let dropped = Self(kind: .dropped)
        /// This side withdrew the message because none of its bytes was sent in time: see
        /// ``AMQPSendOptions/expiresAfter``.
        ///
        /// The peer does not have the message.
        public static let expired = Self(kind: .expired)

        /// The fate in plain words.
        public var description: String { self.kind.rawValue }
    }

    private struct Fields: Sendable {
        var scope: Scope
        var condition: AMQPCondition
        var detail: String
        var info: AMQPMap
        var origin: Origin
        var ending: Ending?
        var fate: Fate?
        var blockedBy: [AMQPBlockCause] = []
        var tracker: AMQPTracker?
        var underlying: (any Error)?
    }

    /// Boxed: most results succeed, and a boxed error keeps every `Result` one pointer wide.
    private var box: CopyOnWriteBox<Fields>

    /// The fields in a box with a single reference.
    private var own: CopyOnWriteBox<Fields> {
        mutating get {
            if !isKnownUniquelyReferenced(&self.box) { self.box = CopyOnWriteBox(self.box.value) }
            return self.box
        }
    }

    /// The part that ended.
    ///
    /// If the connection has ended, the scope is the connection, also for a message that was not sent. If no part has
    /// ended, the scope is ``Scope/call``.
    public var scope: Scope {
        get { self.box.value.scope }
        _modify { yield &self.own.value.scope }
    }
    /// The name of the error.
    public var condition: AMQPCondition {
        get { self.box.value.condition }
        _modify { yield &self.own.value.condition }
    }
    /// A readable text. If ``origin`` is ``Origin/peer``, the text is the peer's. It may be empty.
    public var detail: String {
        get { self.box.value.detail }
        _modify { yield &self.own.value.detail }
    }
    /// Further data that the peer sent with the error, by symbol.
    public var info: AMQPMap {
        get { self.box.value.info }
        _modify { yield &self.own.value.info }
    }
    /// The side that found the error, or that ended the connection, session or link.
    public var origin: Origin {
        get { self.box.value.origin }
        _modify { yield &self.own.value.origin }
    }
    /// The kind of end of the part that ``scope`` names; `nil` if no part ended.
    public var ending: Ending? {
        get { self.box.value.ending ?? self.usualEnding }
        set { self.own.value.ending = newValue }
    }
    /// The default kind of end for a scope.
    private var usualEnding: Ending? {
        guard self.scope != .call, self.scope != .delivery else { return nil }
        switch self.condition {
        case .connectionLost, .idleTimeout: return .lost
        case .connectFailed, .tlsFailed: return .refused
        default: return .closed
        }
    }
    /// The state of the message that the application has submitted for sending; `nil` if the error concerns no message.
    public var fate: Fate? {
        get { self.box.value.fate }
        _modify { yield &self.own.value.fate }
    }
    /// The causes that blocked a message, the outermost first.
    ///
    /// The first cause is the full limit. The next is the reason why that limit stays full, as in
    /// `[.sessionLimit, .credit]`. The conditions ``AMQPCondition/wouldBlock`` and ``AMQPCondition/timeout`` have
    /// causes, and ``AMQPCondition/dropped`` for a new message without room. With other conditions the array is empty.
    /// The causes are never sent.
    public var blockedBy: [AMQPBlockCause] {
        get { self.box.value.blockedBy }
        _modify { yield &self.own.value.blockedBy }
    }
    /// The tracker of a message in doubt, if its `send` was cancelled or reached its timeout; `nil` for other errors.
    ///
    /// The tracker can still await the outcome. It is never sent.
    public var tracker: AMQPTracker? {
        get { self.box.value.tracker }
        _modify { yield &self.own.value.tracker }
    }
    /// The error of the network, of TLS or of a message's body that caused this error; `nil` without such a cause.
    ///
    /// It is never sent, and ``description`` does not show it.
    public var underlying: (any Error)? {
        get { self.box.value.underlying }
        _modify { yield &self.own.value.underlying }
    }

    /// Creates an error, for example to refuse a link or to reject a message.
    ///
    /// - Parameters:
    ///   - scope: The part that the error ends. The scope is not sent.
    ///   - condition: The name of the error.
    ///   - detail: A readable text.
    ///   - info: Further data, by symbol.
    public init(scope: Scope = .call, condition: AMQPCondition, detail: String = "", info: AMQPMap = [:]) {
        self.init(scope: scope, condition: condition, detail: detail, info: info, origin: .local)
    }

    init(
        scope: Scope,
        condition: AMQPCondition,
        detail: String,
        info: AMQPMap = [:],
        origin: Origin = .local,
        ending: Ending? = nil,
        fate: Fate? = nil,
        underlying: (any Error)? = nil
    ) {
        self.box = CopyOnWriteBox(
            Fields(
                scope: scope,
                condition: condition,
                detail: detail,
                info: info,
                origin: origin,
                ending: ending,
                fate: fate,
                underlying: underlying
            )
        )
    }
}

extension AMQPError: Hashable {
    /// Returns whether all fields except ``underlying`` are equal.
    public static func == (left: AMQPError, right: AMQPError) -> Bool {
        let (one, other) = (left.box.value, right.box.value)
        return left.box === right.box
            || one.condition == other.condition && one.scope == other.scope && one.detail == other.detail
                && one.fate == other.fate && one.origin == other.origin && one.ending == other.ending
                && one.blockedBy == other.blockedBy && one.tracker == other.tracker && one.info == other.info
    }

    /// Hashes the condition, the text, the fate and the causes.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.condition)
        hasher.combine(self.detail)
        hasher.combine(self.fate)
        hasher.combine(self.blockedBy)
    }
}

extension AMQPError: CustomStringConvertible {
    /// One line: the fate of the message, the side and the part that ended, the condition, and the text.
    public var description: String {
        let parts = [self.fate.map { "message \($0)" }, self.happening, self.name, self.detail.nonEmpty]
        let line = parts.compactMap(\.self).joined(separator: ": ")
        // A peer must not forge lines of a log.
        return (self.info.isEmpty ? line : "\(line) \(self.info)").onOneLine
    }

    /// The loss, or the peer's action, in plain words; `nil` for this side's errors, which ``detail`` describes.
    private var happening: String? {
        if self.ending == .lost { return "the connection was lost" }
        guard self.origin == .peer, !self.condition.isLocal else { return nil }
        switch (self.scope, self.ending) {
        case (.call, _), (.delivery, _): return "the peer reports"
        case (let scope, .refused): return "the peer refused the \(scope)"
        case (.session, _): return "the peer ended the session"
        case (.link, .detached): return "the peer detached the link"
        case (let scope, _): return "the peer closed the \(scope)"
        }
    }

    /// The condition, unless the text already contains it.
    private var name: String? {
        self.condition.isLocal && !self.detail.isEmpty ? nil : self.condition.rawValue
    }
}

extension String {
    fileprivate var nonEmpty: String? { self.isEmpty ? nil : self }

    /// The text with its control characters and line ends escaped.
    var onOneLine: String {
        func isPlain(_ scalar: Unicode.Scalar) -> Bool {
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: false
            default: true
            }
        }
        guard !self.unicodeScalars.allSatisfy(isPlain) else { return self }
        return self.unicodeScalars.map { isPlain($0) ? String($0) : $0.escaped(asASCII: true) }.joined()
    }
}
