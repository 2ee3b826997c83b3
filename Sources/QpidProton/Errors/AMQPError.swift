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

    private struct Fields: Hashable, Sendable {
        var scope: Scope
        var condition: AMQPCondition
        var detail: String
        var info: AMQPMap
        var isFromPeer: Bool
        var blockedBy: [AMQPBlockCause] = []
        var transfer: AMQPTransfer?
    }

    /// Most answers are no errors, and each has room for one: what an error holds lies behind a reference.
    private var box: CopyOnWriteBox<Fields>

    /// The fields, which nobody else has.
    private var own: CopyOnWriteBox<Fields> {
        mutating get {
            if !isKnownUniquelyReferenced(&self.box) { self.box = CopyOnWriteBox(self.box.value) }
            return self.box
        }
    }

    /// What has ended.
    public var scope: Scope {
        get { self.box.value.scope }
        _modify { yield &self.own.value.scope }
    }
    /// The name of the error.
    public var condition: AMQPCondition {
        get { self.box.value.condition }
        _modify { yield &self.own.value.condition }
    }
    /// A text for people, from the peer where ``isFromPeer`` is true. It may be empty.
    public var detail: String {
        get { self.box.value.detail }
        _modify { yield &self.own.value.detail }
    }
    /// What else the peer sent with the error, by symbol.
    public var info: AMQPMap {
        get { self.box.value.info }
        _modify { yield &self.own.value.info }
    }
    /// Whether the peer sent this error.
    public var isFromPeer: Bool {
        get { self.box.value.isFromPeer }
        _modify { yield &self.own.value.isFromPeer }
    }
    /// What kept a message from being accepted, the outermost first: which limit is full, and then why that one does not
    /// empty, as in `[.sessionLimit, .credit]`. Empty for errors other than ``AMQPCondition/wouldBlock`` and ``AMQPCondition/dropped``;
    /// never sent.
    public var blockedBy: [AMQPBlockCause] {
        get { self.box.value.blockedBy }
        _modify { yield &self.own.value.blockedBy }
    }
    /// The message that was sent and is not settled, of an error ``AMQPCondition/unsettled``: what becomes of it can still be
    /// awaited. Nil for other errors; never sent.
    public var transfer: AMQPTransfer? {
        get { self.box.value.transfer }
        _modify { yield &self.own.value.transfer }
    }

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
        self.box = CopyOnWriteBox(
            Fields(scope: scope, condition: condition, detail: detail, info: info, isFromPeer: isFromPeer)
        )
    }

    /// Whether all that the errors say is equal.
    public static func == (left: AMQPError, right: AMQPError) -> Bool {
        left.box === right.box || left.box.value == right.box.value
    }

    /// Hashes all that the error says.
    public func hash(into hasher: inout Hasher) { hasher.combine(self.box.value) }
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
