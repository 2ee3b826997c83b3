/// One side of one exchange of a mechanism, for the client. A new value is made for every connection.
///
/// Source: RFC 4422 §3, AMQP 1.0 §5.3.2.
protocol SASLClientMechanism: Sendable {
    /// The registered name, such as `PLAIN`.
    var name: String { get }
    /// Whether someone who reads the bytes learns the password.
    var revealsPassword: Bool { get }
    /// The first bytes to the server.
    mutating func initialResponse() throws(AMQPError) -> [UInt8]?
    /// Answers a challenge.
    mutating func response(to challenge: [UInt8]) throws(AMQPError) -> [UInt8]
    /// Checks the server's last words, where a mechanism authenticates the server too.
    mutating func finish(additionalData: [UInt8]?) throws(AMQPError)
}

extension SASLClientMechanism {
    var revealsPassword: Bool { false }

    mutating func response(to challenge: [UInt8]) throws(AMQPError) -> [UInt8] {
        throw AMQPError(
            scope: .connection,
            condition: .illegalState,
            detail: "The server sent a SASL challenge, but the mechanism \(self.name) has none."
        )
    }

    mutating func finish(additionalData: [UInt8]?) throws(AMQPError) {}
}

/// What a server does after a client's bytes.
enum SASLServerStep: Sendable {
    /// Asks the client for more.
    case challenge([UInt8])
    /// The client is who it says.
    case accept(username: String?, additionalData: [UInt8]? = nil)
    /// The client is not let in. The reason is for this side's error: the client only learns that it failed.
    case refuse(String)
    /// The answer takes time; it is computed outside the event loop, and is not `check` again.
    case check(@Sendable () async -> SASLServerStep)
}

/// One side of one exchange of a mechanism, for the server. A new value is made for every connection.
///
/// Source: RFC 4422 §3, AMQP 1.0 §5.3.2.
protocol SASLServerMechanism: Sendable {
    /// The registered name, such as `PLAIN`.
    var name: String { get }
    /// Takes the client's bytes: its initial response, nil where it sent none, then its answers to challenges.
    mutating func step(_ response: [UInt8]?) -> SASLServerStep
}

/// Who the peer of a connection is, as SASL found out.
///
/// Source: AMQP 1.0 §5.3.
public struct AMQPAuthenticatedIdentity: Hashable, Sendable, CustomStringConvertible {
    /// The SASL mechanism, such as `PLAIN`, or nil where the peer has used no SASL layer.
    public var mechanism: String?
    /// The user: with PLAIN the name that was checked, with EXTERNAL the common name of the client's certificate. It
    /// is nil for ANONYMOUS and without a SASL layer, and on the client's side it is the name that was sent.
    public var username: String? {
        get { self.comparedUsername.text }
        set { self.comparedUsername.text = newValue }
    }
    private var comparedUsername: Bytewise<String?>

    /// Makes an identity.
    public init(mechanism: String?, username: String?) {
        self.mechanism = mechanism
        self.comparedUsername = Bytewise(username)
    }

    /// The user and the mechanism.
    public var description: String {
        "\(self.username ?? "anonymous") (\(self.mechanism ?? "no SASL"))"
    }
}

/// The user inbound event that a SASL handler fires just before it lets `channelActive` through.
struct SASLCompleted: Hashable, Sendable {
    var mechanism: String? { self.identity.mechanism }
    var username: String? { self.identity.username }
    let identity: AMQPAuthenticatedIdentity
}
