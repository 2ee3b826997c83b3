// SPDX-License-Identifier: Apache-2.0

/// The TLS settings of a client.
///
/// By default the client trusts the system's roots, verifies the server's certificate and its host name, and accepts
/// TLS 1.2 or later.
///
/// Source: AMQP 1.0 §5.2.2 (a separate TLS port).
public struct AMQPTLS: Hashable, Sendable {
    /// The trusted certificate authorities.
    public struct TrustRoots: Hashable, Sendable {
        enum Kind: Hashable, Sendable {
            case system
            case pem(AMQPTLSSource)
        }

        let kind: Kind

        /// The roots that the operating system trusts.
        public static let system = Self(kind: .system)

        /// Only the certificates in a PEM file.
        ///
        /// - Parameter path: The path of the file. The library reads the file when it connects.
        /// - Returns: The roots.
        public static func file(_ path: String) -> Self { Self(kind: .pem(.file(path))) }

        /// Only the given certificates, in PEM form.
        ///
        /// - Parameter bytes: One or more certificates.
        /// - Returns: The roots.
        public static func pem(_ bytes: some Sequence<UInt8>) -> Self {
            Self(kind: .pem(.bytes(Redacted(Array(bytes)))))
        }
    }

    /// A certificate chain and its private key. No description or dump shows the key.
    public struct Identity: Hashable, Sendable {
        let certificateChain: AMQPTLSSource
        let privateKey: AMQPTLSSource

        /// A chain and a key in PEM files. The library reads the files when it connects.
        ///
        /// - Parameters:
        ///   - certificateChain: The file with this side's certificate first, then the intermediate certificates.
        ///   - privateKey: The file with the key, without a passphrase.
        /// - Returns: The identity.
        public static func files(certificateChain: String, privateKey: String) -> Self {
            Self(certificateChain: .file(certificateChain), privateKey: .file(privateKey))
        }

        /// A chain and a key in PEM form.
        ///
        /// - Parameters:
        ///   - certificateChain: This side's certificate first, then the intermediate certificates.
        ///   - privateKey: The key, without a passphrase.
        /// - Returns: The identity.
        public static func pem(
            certificateChain: some Sequence<UInt8>,
            privateKey: some Sequence<UInt8>
        ) -> Self {
            Self(
                certificateChain: .bytes(Redacted(Array(certificateChain))),
                privateKey: .bytes(Redacted(Array(privateKey)))
            )
        }
    }

    /// The checks of the server's certificate.
    public struct Verification: Hashable, Sendable {
        enum Kind: Hashable, Sendable { case full, noHostnameVerification, none }
        let kind: Kind

        /// The chain up to a trusted root, and the host's name or IP address.
        public static let full = Self(kind: .full)
        /// Only the chain up to a trusted root, without the host's name: any server with a certificate from a trusted
        /// authority passes.
        public static let noHostnameVerification = Self(kind: .noHostnameVerification)
        /// No check: the connection is encrypted, and any server passes.
        public static let none = Self(kind: .none)
    }

    /// A version of TLS.
    public struct Version: Hashable, Sendable {
        enum Kind: Hashable, Sendable { case tls12, tls13 }
        let kind: Kind

        /// TLS 1.2. Source: RFC 5246.
        public static let tls12 = Self(kind: .tls12)
        /// TLS 1.3. Source: RFC 8446.
        public static let tls13 = Self(kind: .tls13)
    }

    /// The trusted certificate authorities.
    public var trustRoots: TrustRoots
    /// The client's own certificate and key, for servers that request one and for SASL EXTERNAL.
    public var identity: Identity?
    /// The checks of the server's certificate.
    public var verification: Verification
    /// The name to request (SNI) and to verify, instead of the host of the connection.
    ///
    /// The value must be a host's name in ASCII, not an IP address. The library removes a final dot (RFC 6066 §3).
    public var serverName: String?
    /// The oldest accepted version of TLS.
    public var minimumVersion: Version

    /// Creates a configuration.
    ///
    /// - Parameters:
    ///   - trustRoots: The trusted certificate authorities.
    ///   - identity: The client's own certificate and key.
    ///   - verification: The checks of the server's certificate.
    ///   - serverName: The name to request and to verify, instead of the host of the connection.
    ///   - minimumVersion: The oldest accepted version of TLS.
    public init(
        trustRoots: TrustRoots = .system,
        identity: Identity? = nil,
        verification: Verification = .full,
        serverName: String? = nil,
        minimumVersion: Version = .tls12
    ) {
        self.trustRoots = trustRoots
        self.identity = identity
        self.verification = verification
        self.serverName = serverName
        self.minimumVersion = minimumVersion
    }
}

/// The TLS settings of a listener.
///
/// Source: AMQP 1.0 §5.2.2 (a separate TLS port).
public struct AMQPServerTLS: Hashable, Sendable {
    /// Whether clients show a certificate.
    public struct ClientCertificates: Hashable, Sendable {
        enum Kind: Hashable, Sendable {
            case none
            case optional(AMQPTLS.TrustRoots)
            case required(AMQPTLS.TrustRoots)
        }

        let kind: Kind

        /// The listener requests no certificate.
        public static let none = Self(kind: .none)

        /// A client may present a certificate; the listener refuses a certificate that does not lead to these roots.
        ///
        /// - Parameter trustRoots: The authorities that sign clients' certificates.
        /// - Returns: The setting.
        public static func optional(_ trustRoots: AMQPTLS.TrustRoots) -> Self { Self(kind: .optional(trustRoots)) }

        /// The listener refuses a client without a certificate that leads to these roots.
        ///
        /// - Parameter trustRoots: The authorities that sign clients' certificates.
        /// - Returns: The setting.
        public static func required(_ trustRoots: AMQPTLS.TrustRoots) -> Self { Self(kind: .required(trustRoots)) }
    }

    /// The listener's certificate and key.
    public var identity: AMQPTLS.Identity
    /// Whether clients show a certificate.
    public var clientCertificates: ClientCertificates
    /// The oldest accepted version of TLS.
    public var minimumVersion: AMQPTLS.Version

    /// Creates a configuration.
    ///
    /// - Parameters:
    ///   - identity: The listener's certificate and key.
    ///   - clientCertificates: Whether clients show a certificate.
    ///   - minimumVersion: The oldest accepted version of TLS.
    public init(
        identity: AMQPTLS.Identity,
        clientCertificates: ClientCertificates = .none,
        minimumVersion: AMQPTLS.Version = .tls12
    ) {
        self.identity = identity
        self.clientCertificates = clientCertificates
        self.minimumVersion = minimumVersion
    }
}
