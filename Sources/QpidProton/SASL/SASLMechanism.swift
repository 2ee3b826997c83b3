// SPDX-License-Identifier: Apache-2.0

/// The client's side of one exchange of a mechanism. Each connection has its own value.
///
/// Source: RFC 4422 §3, AMQP 1.0 §5.3.2.
protocol SASLClientMechanism: Sendable {
    /// The registered name, such as `PLAIN`.
    var name: String { get }
    /// Whether the bytes on the wire reveal the password.
    var revealsPassword: Bool { get }
    /// Returns the first bytes for the server.
    mutating func initialResponse() throws(AMQPError) -> [UInt8]?
    /// Answers a challenge.
    mutating func response(to challenge: [UInt8]) throws(AMQPError) -> [UInt8]
    /// Checks the server's final data, if the mechanism also authenticates the server.
    mutating func finish(additionalData: [UInt8]?) throws(AMQPError)
}

extension SASLClientMechanism {
    var revealsPassword: Bool { false }

    mutating func response(to challenge: [UInt8]) throws(AMQPError) -> [UInt8] {
        throw AMQPError(
            scope: .connection,
            condition: .illegalState,
            detail: "the server sent a SASL challenge, but the mechanism \(self.name) has none"
        )
    }

    mutating func finish(additionalData: [UInt8]?) throws(AMQPError) {}
}

/// The server's reaction to a client's bytes.
enum SASLServerStep: Sendable {
    /// Sends a challenge to the client.
    case challenge([UInt8])
    /// The client's identity is proven.
    case accept(username: String?, additionalData: [UInt8]? = nil)
    /// The login is refused. Only this side's error contains the reason: the client receives the outcome `auth` alone.
    case refuse(String)
    /// The handler computes the answer outside the event loop, because it may be slow. The answer is never another
    /// `check`.
    case check(@Sendable () async -> SASLServerStep)
}

/// The server's side of one exchange of a mechanism. Each connection has its own value.
///
/// Source: RFC 4422 §3, AMQP 1.0 §5.3.2.
protocol SASLServerMechanism: Sendable {
    /// The registered name, such as `PLAIN`.
    var name: String { get }
    /// Handles the client's bytes: its initial response (`nil` if the client sent no response), then its answers to
    /// challenges.
    mutating func step(_ response: [UInt8]?) -> SASLServerStep
}

/// The identity of a connection's peer, as SASL established it.
///
/// Source: AMQP 1.0 §5.3.
public struct AMQPAuthenticatedIdentity: Hashable, Sendable, CustomStringConvertible {
    /// The SASL mechanism, such as `PLAIN`; `nil` if the peer uses no SASL layer.
    public var mechanism: String?
    /// The user: the checked name for PLAIN, or the common name of the client's certificate for EXTERNAL.
    ///
    /// `nil` for ANONYMOUS and without a SASL layer. On the client's side this is the name that the client sent with
    /// PLAIN.
    public var username: String? {
        get { self.comparedUsername.text }
        set { self.comparedUsername.text = newValue }
    }
    private var comparedUsername: Bytewise<String?>

    /// Creates an identity.
    public init(mechanism: String?, username: String?) {
        self.mechanism = mechanism
        self.comparedUsername = Bytewise(username)
    }

    /// The user and the mechanism.
    public var description: String {
        "\(self.username ?? "anonymous") (\(self.mechanism ?? "no SASL"))"
    }
}

/// The user inbound event that a SASL handler fires just before `channelActive`.
struct SASLCompleted: Hashable, Sendable {
    var mechanism: String? { self.identity.mechanism }
    var username: String? { self.identity.username }
    let identity: AMQPAuthenticatedIdentity
}
