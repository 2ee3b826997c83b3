// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore

/// The login of a client.
///
/// No description, dump, log or error shows a password.
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

    /// Whether PLAIN may send the password over a connection without TLS to another machine; false by default.
    ///
    /// Without this permission the connection fails before it sends the password. Loopback addresses and Unix sockets
    /// need no permission.
    public var allowsPlainWithoutTLS = false

    /// The largest SASL frame that the server may send, in bytes; at least 512.
    ///
    /// This size also limits the bytes that are buffered until the login is complete.
    public var maxFrameSize: AMQPByteCount = .kibibytes(64)

    /// Whether the configuration contains a password.
    var hasPassword: Bool { if case .plain = self.method { true } else { false } }

    private init(_ method: Method) {
        self.method = method
    }

    /// The strongest mechanism that the credentials allow and the server offers.
    ///
    /// With a user and a password from the URL, this is PLAIN. If the server does not offer PLAIN and a client
    /// certificate is configured, it is EXTERNAL. It is never ANONYMOUS, because that would drop the login without an
    /// error. Without a user it is EXTERNAL if a client certificate is configured and the server offers EXTERNAL,
    /// otherwise ANONYMOUS.
    public static let automatic = Self(.automatic)

    /// ANONYMOUS: a login without a user. Source: RFC 4505.
    public static let anonymous = Self(.anonymous)

    /// EXTERNAL: the server reads the identity from the TLS client certificate. Source: RFC 4422, appendix A.
    public static let external = Self(.external)

    /// No SASL layer: the connection starts with the AMQP header. Source: AMQP 1.0 §2.2.
    public static let none = Self(.none)

    /// Returns PLAIN with this user and password, which replace those of the URL. Source: RFC 4616.
    ///
    /// - Parameters:
    ///   - username: The user; not empty and without a zero byte.
    ///   - password: The password, without a zero byte.
    /// - Returns: The configuration.
    public static func plain(username: String, password: String) -> Self {
        Self(.plain(username: username, password: Redacted(password)))
    }

    /// Returns a copy that may send the password of PLAIN without TLS to another machine.
    ///
    /// - Returns: The copy, with ``allowsPlainWithoutTLS`` set.
    public func allowingPlainWithoutTLS() -> Self {
        var copy = self
        copy.allowsPlainWithoutTLS = true
        return copy
    }
}

extension AMQPSASL: CustomStringConvertible, CustomDebugStringConvertible {
    /// The mechanism and the user, without the password.
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
    /// Creates the handler for one connection; returns `nil` without a SASL layer.
    ///
    /// - Parameters:
    ///   - username: The user from the URL.
    ///   - password: The password from the URL.
    ///   - hasClientCertificate: Whether TLS is configured with a client certificate.
    ///   - hostname: The virtual host, for the `hostname` field of `sasl-init`.
    ///   - logger: The logger of the steps, at debug level.
    /// - Throws: ``AMQPError`` with ``AMQPCondition/invalidArgument`` if the configuration allows no login.
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

    /// Checks the login before connecting, as far as it does not depend on the server.
    ///
    /// - Parameters:
    ///   - url: The URL with the user and the password.
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
        // The connector checks each address of a name after the resolver has found it.
        if let address = AddressChecks.ipAddress(url.host, port: url.port) {
            try self.check(address, isTLS: url.isTLS, candidates ?? [])
        }
    }

    /// Throws if a login would send the password unencrypted over a network. Call it before connecting to the address.
    func check(_ address: SocketAddress, isTLS: Bool, _ candidates: [any SASLClientMechanism]) throws(AMQPError) {
        guard !isTLS, !self.allowsPlainWithoutTLS, candidates.contains(where: \.revealsPassword),
            !SASLTransportSecurity.isLocal(address)
        else { return }
        throw .passwordWithoutTLS
    }

    /// Returns the mechanisms to use, best first; `nil` without a SASL layer.
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
                        "SASL EXTERNAL needs TLS and a client certificate: use amqps://, and set the identity of the TLS configuration"
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
                    detail: "there is a user but no password: add the password, or remove the user"
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
