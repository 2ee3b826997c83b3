// SPDX-License-Identifier: Apache-2.0

import Logging

/// The logins that a listener accepts.
///
/// Source: AMQP 1.0 §5.3.
public struct AMQPServerSASL: Sendable {
    /// Whether the listener offers ANONYMOUS. Source: RFC 4505.
    public var allowsAnonymous: Bool

    /// The check of the user and the password of PLAIN; `nil` if the listener does not offer PLAIN.
    ///
    /// The check runs outside the event loop and may suspend. If the connection closes first, it cancels the task of
    /// the check. Source: RFC 4616.
    public var checkPassword: (@Sendable (_ username: String, _ password: String) async -> Bool)?

    /// Whether the listener offers EXTERNAL to a client whose TLS certificate it has verified.
    ///
    /// The user is the common name of the certificate. Source: RFC 4422, appendix A.
    public var allowsExternal: Bool

    /// Whether the listener offers PLAIN over a connection without TLS from another machine; false by default.
    ///
    /// An offer would invite clients to send passwords that others on the network can read.
    public var allowsPlainWithoutTLS: Bool

    /// Whether a client may omit the SASL layer and start with the AMQP header; `nil` by default.
    ///
    /// With `nil`, the listener accepts such a client only if it offers ANONYMOUS and has no password check.
    public var allowsNoSASL: Bool?

    /// The largest SASL frame that a client may send, in bytes; at least 512.
    ///
    /// This size also limits the bytes that are buffered until the login is complete.
    public var maxFrameSize: AMQPByteCount

    /// Creates a configuration; without arguments it accepts every client as ANONYMOUS.
    ///
    /// - Parameters:
    ///   - allowsAnonymous: Whether the listener offers ANONYMOUS; with `nil`, only without a password check.
    ///   - allowsExternal: Whether the listener offers EXTERNAL to a client with a verified certificate.
    ///   - allowsPlainWithoutTLS: Whether the listener offers PLAIN over a connection without TLS from another machine.
    ///   - allowsNoSASL: Whether a client may omit the SASL layer; for `nil` see ``allowsNoSASL``.
    ///   - maxFrameSize: The largest SASL frame, in bytes.
    ///   - checkPassword: The check of the user and the password of PLAIN.
    public init(
        allowsAnonymous: Bool? = nil,
        allowsExternal: Bool = true,
        allowsPlainWithoutTLS: Bool = false,
        allowsNoSASL: Bool? = nil,
        maxFrameSize: AMQPByteCount = .kibibytes(64),
        checkPassword: (@Sendable (_ username: String, _ password: String) async -> Bool)? = nil
    ) {
        self.allowsAnonymous = allowsAnonymous ?? (checkPassword == nil)
        self.allowsExternal = allowsExternal
        self.allowsPlainWithoutTLS = allowsPlainWithoutTLS
        self.allowsNoSASL = allowsNoSASL
        self.maxFrameSize = maxFrameSize
        self.checkPassword = checkPassword
    }

    /// A configuration that accepts every client as ANONYMOUS, with or without a SASL layer.
    public static let anonymous = Self()
}

extension AMQPServerSASL {
    /// Creates the handler for one connection.
    func makeServerHandler(logger: Logger) -> SASLServerHandler {
        SASLServerHandler(
            machine: SASLServerMachine(configuration: self),
            maxFrameSize: self.maxFrameSize.bytes,
            logger: logger
        )
    }

    /// Checks the configuration of a listener before it binds.
    ///
    /// - Parameter showsCertificates: Whether the listener's clients may present a TLS certificate.
    /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument``.
    func validate(showsCertificates: Bool) throws(AMQPError) {
        guard self.maxFrameSize.bytes >= SASLReader.minimumMaxFrameSize else {
            let text = "the maxFrameSize of SASL is \(self.maxFrameSize): 512 B is the least"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
        let offersAny = self.allowsAnonymous || self.checkPassword != nil || self.allowsExternal && showsCertificates
        guard offersAny || self.letsInWithoutSASL else {
            let remedy = "allow ANONYMOUS, set checkPassword, or ask for client certificates with TLS"
            throw AMQPError(condition: .invalidArgument, detail: "no client can log in: \(remedy)")
        }
    }

    /// Returns the mechanisms that this connection may use, strongest first.
    func mechanisms(for security: SASLTransportSecurity) -> [any SASLServerMechanism] {
        var mechanisms: [any SASLServerMechanism] = []
        if self.allowsExternal && security.hasPeerCertificate {
            mechanisms.append(SASLExternalServer(certificateName: security.peerCertificateName))
        }
        if let check = self.checkPassword, security.isConfidential || self.allowsPlainWithoutTLS {
            mechanisms.append(SASLPlainServer(check: check))
        }
        if self.allowsAnonymous {
            mechanisms.append(SASLAnonymous())
        }
        return mechanisms
    }

    /// Whether a client may start with the AMQP header.
    var letsInWithoutSASL: Bool {
        self.allowsNoSASL ?? (self.allowsAnonymous && self.checkPassword == nil)
    }
}
