import Logging
import NIOCore

/// How a client logs in.
///
/// A password is shown by no description, dump, log or error.
///
/// Source: AMQP 1.0 §5.3.
public struct AMQPSASL: Hashable, Sendable {
    enum Method: Hashable, Sendable {
        case automatic
        case anonymous
        case plain(username: String, password: Redacted<String>)
        case external
        case none
    }

    let method: Method

    /// Whether PLAIN may send the password over a connection without TLS to another machine. It is false by default:
    /// the connection then fails before the password leaves. A loopback address and a Unix socket need no permission.
    public var allowsPlainWithoutTLS = false

    /// The largest SASL frame that is taken from the server, and the most bytes that are held before the login is
    /// done, in bytes; at least 512.
    public var maxFrameSize: AMQPByteCount = .kibibytes(64)

    private init(_ method: Method) {
        self.method = method
    }

    /// The strongest mechanism that fits what is known and what the server offers.
    ///
    /// With a user and a password (from the URL or the configuration): PLAIN, or EXTERNAL if the server does not offer
    /// PLAIN and a client certificate is configured; never ANONYMOUS, so that a login is not dropped silently. Without:
    /// EXTERNAL if a client certificate is configured and the server offers it, else ANONYMOUS.
    public static let automatic = Self(.automatic)

    /// ANONYMOUS: nobody logs in. Source: RFC 4505.
    public static let anonymous = Self(.anonymous)

    /// EXTERNAL: the server takes the identity from the TLS client certificate. Source: RFC 4422, appendix A.
    public static let external = Self(.external)

    /// No SASL layer: the connection starts with the AMQP header. Source: AMQP 1.0 §2.2.
    public static let none = Self(.none)

    /// PLAIN with this user and password, whatever the URL says. Source: RFC 4616.
    ///
    /// - Parameters:
    ///   - username: The user; not empty and without a zero byte.
    ///   - password: The password, without a zero byte.
    /// - Returns: The configuration.
    public static func plain(username: String, password: String) -> Self {
        Self(.plain(username: username, password: Redacted(password)))
    }

    /// A copy that may send the password of PLAIN without TLS to another machine.
    ///
    /// - Returns: The copy, with ``allowsPlainWithoutTLS`` set.
    public func allowingPlainWithoutTLS() -> Self {
        var copy = self
        copy.allowsPlainWithoutTLS = true
        return copy
    }
}

extension AMQPSASL: CustomStringConvertible, CustomDebugStringConvertible {
    /// The method and the user, without the password.
    public var description: String {
        switch self.method {
        case .automatic: "automatic"
        case .anonymous: "ANONYMOUS"
        case .plain(let username, _): "PLAIN as \(username)"
        case .external: "EXTERNAL"
        case .none: "no SASL"
        }
    }

    /// The same as ``description``.
    public var debugDescription: String { self.description }
}

extension AMQPSASL {
    /// Makes the handler for one connection, or nil where there is no SASL layer.
    ///
    /// - Parameters:
    ///   - username: The user from the URL.
    ///   - password: The password from the URL.
    ///   - hasClientCertificate: Whether TLS is configured with a client certificate.
    ///   - hostname: The host that the client wants to reach, for the `hostname` field of `sasl-init`.
    ///   - logger: Gets the steps at debug level.
    /// - Throws: ``AMQPError`` with ``AMQPCondition/invalidArgument`` where the configuration cannot log in anywhere.
    func makeClientHandler(
        username: String?,
        password: String?,
        hasClientCertificate: Bool,
        hostname: String?,
        address: SocketAddress? = nil,
        logger: Logger
    ) throws(AMQPError) -> SASLClientHandler? {
        guard
            let candidates = try self.candidates(
                username: username,
                password: password.map { Redacted($0) },
                hasClientCertificate: hasClientCertificate
            )
        else { return nil }
        let machine = SASLClientMachine(
            candidates: candidates,
            hostname: hostname,
            allowsPlainWithoutTLS: self.allowsPlainWithoutTLS
        )
        return SASLClientHandler(machine: machine, maxFrameSize: self.maxFrameSize.bytes, logger: logger) {
            SASLTransportSecurity(context: $0, address: address)
        }
    }

    /// Checks the login before a connection is made, as far as it does not depend on the server.
    ///
    /// - Parameters:
    ///   - url: Has the user and the password.
    ///   - hasClientCertificate: Whether TLS is configured with a client certificate.
    /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument``.
    func validate(_ url: AMQPURL, hasClientCertificate: Bool) throws(AMQPError) {
        guard self.maxFrameSize.bytes >= SASLReader.minimumMaxFrameSize else {
            let text = "the maxFrameSize of SASL is \(self.maxFrameSize): 512 B is the least"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
        let candidates = try self.candidates(
            username: url.username,
            password: url.password.map { Redacted($0) },
            hasClientCertificate: hasClientCertificate
        )
        // The addresses of a name are checked one by one, once the resolver has found them.
        if let address = AddressChecks.ipAddress(url.host, port: url.port) {
            try self.check(address, isTLS: url.isTLS, candidates ?? [])
        }
    }

    /// Throws where a login would send the password readable over a network. It is called before the address is connected to.
    func check(_ address: SocketAddress, isTLS: Bool, _ candidates: [any SASLClientMechanism]) throws(AMQPError) {
        guard !isTLS, !self.allowsPlainWithoutTLS, candidates.contains(where: \.revealsPassword),
            !SASLTransportSecurity.isLocal(address)
        else { return }
        throw .passwordWithoutTLS
    }

    /// The mechanisms to use, best first; nil where there is no SASL layer.
    func candidates(
        username: String?,
        password: Redacted<String>?,
        hasClientCertificate: Bool
    ) throws(AMQPError) -> [any SASLClientMechanism]? {
        switch self.method {
        case .none: return nil
        case .anonymous: return [SASLAnonymous()]
        case .external:
            guard hasClientCertificate else {
                throw AMQPError(
                    condition: .invalidArgument,
                    detail:
                        "SASL EXTERNAL needs TLS and a client certificate: use amqps:// and set the identity of the TLS configuration"
                )
            }
            return [SASLExternalClient()]
        case .plain(let username, let password):
            return [try SASLPlainClient(checking: username, password)]
        case .automatic:
            let external: [any SASLClientMechanism] = hasClientCertificate ? [SASLExternalClient()] : []
            guard let username else { return external + [SASLAnonymous()] }
            guard let password else {
                throw AMQPError(
                    condition: .invalidArgument,
                    detail: "there is a user but no password: give the password too, or leave the user out"
                )
            }
            return [try SASLPlainClient(checking: username, password)] + external
        }
    }
}

extension AMQPError {
    static let passwordWithoutTLS = AMQPError(
        condition: .invalidArgument,
        detail: "SASL PLAIN would send the password unencrypted to another machine: use amqps:// (TLS), or set "
            + "allowsPlainWithoutTLS if the network is trusted; the password was not sent"
    )
}
