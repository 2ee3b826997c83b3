/// The one error that this library throws.
///
/// ``scope`` says what has ended (`.local` where nothing has), ``condition`` names the error, ``detail`` is the text
/// for people, and ``info`` holds what else the peer sent. An error never contains a password.
///
/// Source: AMQP 1.0 §2.8.14.
public struct AMQPError: Error, Hashable, Sendable {
    /// What an error ends.
    public struct Scope: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String { case connection, session, link, delivery, local }
        private let kind: Kind

        /// The connection, and with it all its sessions and links.
        public static let connection = Self(kind: .connection)
        /// The session, and with it all its links.
        public static let session = Self(kind: .session)
        /// The link.
        public static let link = Self(kind: .link)
        /// One message: the others are not touched.
        public static let delivery = Self(kind: .delivery)
        /// The call alone: an argument, a deadline, a cancellation.
        public static let local = Self(kind: .local)

        /// The scope's name.
        public var description: String { self.kind.rawValue }
    }

    /// What has ended.
    public var scope: Scope
    /// The name of the error.
    public var condition: AMQPCondition
    /// A text for people, from the peer where ``isFromPeer`` is true. It may be empty.
    public var detail: String
    /// What else the peer sent with the error, by symbol.
    public var info: AMQPMap
    /// Whether the peer sent this error.
    public var isFromPeer: Bool
    /// What kept a message from being accepted, the outermost first: which limit is full, and then why that one does not
    /// empty, as in `[.sessionLimit, .credit]`. Empty for errors other than ``AMQPCondition/wouldBlock`` and ``AMQPCondition/dropped``;
    /// never sent.
    public var blockedBy: [AMQPBlockCause] = []
    /// The message that was sent and is not settled, of an error ``AMQPCondition/unsettled``: what becomes of it can still be
    /// awaited. Nil for other errors; never sent.
    public var transfer: AMQPTransfer?

    /// Makes an error, for example to refuse a link with, or to reject a message.
    ///
    /// - Parameters:
    ///   - scope: What the error ends.
    ///   - condition: The name of the error.
    ///   - detail: A text for people.
    ///   - info: More, by symbol.
    public init(_ scope: Scope, _ condition: AMQPCondition, _ detail: String = "", info: AMQPMap = [:]) {
        self.init(scope, condition, detail, info: info, isFromPeer: false)
    }

    init(_ scope: Scope, _ condition: AMQPCondition, _ detail: String, info: AMQPMap = [:], isFromPeer: Bool) {
        self.scope = scope
        self.condition = condition
        self.detail = detail
        self.info = info
        self.isFromPeer = isFromPeer
    }
}

extension AMQPError: CustomStringConvertible {
    /// One line: the scope, the condition, and the text.
    public var description: String {
        let origin = self.isFromPeer ? " from the peer" : ""
        let text = self.detail.isEmpty ? "" : ": \(self.detail)"
        let line = "\(self.scope) error\(origin): \(self.condition)\(text)"
        return self.info.isEmpty ? line : "\(line) \(self.info)"
    }
}
