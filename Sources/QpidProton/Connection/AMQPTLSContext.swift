import NIOCore
import NIOSSL

extension AMQPTLS {
    /// Builds what all connections of this configuration share. It reads files and blocks: call it outside the event
    /// loop, once.
    func makeContext() throws(AMQPError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = self.minimumVersion.version
        configuration.trustRoots = try self.trustRoots.roots()
        switch self.verification.kind {
        case .full: configuration.certificateVerification = .fullVerification
        case .noHostnameVerification: configuration.certificateVerification = .noHostnameVerification
        case .none: configuration.certificateVerification = .none
        }
        if let identity = self.identity {
            configuration.certificateChain = try identity.certificates()
            configuration.privateKey = try identity.key()
        }
        return try configuration.makeContext(self.identity)
    }

    /// Makes the handler for one connection.
    ///
    /// An IP address as host is not sent as SNI; the certificate is then checked against the address that the channel
    /// is connected to.
    ///
    /// - Parameters:
    ///   - host: The host that is connected to.
    ///   - context: What ``makeContext()`` built.
    func makeClientHandler(host: String, context: NIOSSLContext) throws(AMQPError) -> NIOSSLClientHandler {
        let name = self.serverName ?? (Self.isIPAddress(host) ? nil : host)
        if let name, !name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) {
            throw AMQPTLSSource.error(
                "The host's name '\(name)' cannot be verified with TLS, for it is not ASCII",
                "write it in its ASCII form, which begins with xn--"
            )
        }
        do {
            return try NIOSSLClientHandler(context: context, serverHostname: name)
        } catch {
            throw AMQPTLSSource.error(
                "The name '\(name ?? host)' cannot be used as a TLS server name",
                "serverName must be a host's name of 1 to 255 bytes, and not an IP address"
            )
        }
    }

    /// Builds the context and the handler in one go. It reads files and blocks.
    func makeClientHandler(host: String) throws(AMQPError) -> NIOSSLClientHandler {
        try self.makeClientHandler(host: host, context: try self.makeContext())
    }

    /// Whether a host is an IPv4 or IPv6 address, the latter perhaps with a zone.
    static func isIPAddress(_ host: String) -> Bool {
        let address = host.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
        return (try? SocketAddress(ipAddress: String(address), port: 0)) != nil
    }
}

extension AMQPServerTLS {
    /// Builds what all connections of this configuration share. It reads files and blocks: call it outside the event
    /// loop, once.
    func makeContext() throws(AMQPError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try self.identity.certificates(),
            privateKey: try self.identity.key()
        )
        configuration.minimumTLSVersion = self.minimumVersion.version
        switch self.clientCertificates.kind {
        case .none:
            configuration.certificateVerification = .none
        case .optional(let trustRoots):
            configuration.certificateVerification = .optionalVerification
            configuration.trustRoots = try trustRoots.roots()
        case .required(let trustRoots):
            // The chain alone: a client's certificate names no host.
            configuration.certificateVerification = .noHostnameVerification
            configuration.trustRoots = try trustRoots.roots()
        }
        return try configuration.makeContext(self.identity)
    }

    /// Makes the handler for one connection.
    func makeServerHandler(context: NIOSSLContext) -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: context)
    }

    /// Builds the context and the handler in one go. It reads files and blocks.
    func makeServerHandler() throws(AMQPError) -> NIOSSLServerHandler {
        self.makeServerHandler(context: try self.makeContext())
    }
}

extension AMQPTLS.TrustRoots {
    fileprivate func roots() throws(AMQPError) -> NIOSSLTrustRoots {
        switch self.kind {
        case .system: .default
        case .pem(let source): .certificates(try source.certificates("the trusted certificate authorities"))
        }
    }
}

extension AMQPTLS.Version {
    fileprivate var version: TLSVersion {
        switch self.kind {
        case .tls12: .tlsv12
        case .tls13: .tlsv13
        }
    }
}

extension AMQPTLS.Identity {
    fileprivate func certificates() throws(AMQPError) -> [NIOSSLCertificateSource] {
        try self.certificateChain.certificates("the certificate chain").map { .certificate($0) }
    }

    fileprivate func key() throws(AMQPError) -> NIOSSLPrivateKeySource {
        .privateKey(try self.privateKey.privateKey())
    }
}

extension TLSConfiguration {
    fileprivate func makeContext(_ identity: AMQPTLS.Identity?) throws(AMQPError) -> NIOSSLContext {
        do {
            return try NIOSSLContext(configuration: self)
        } catch NIOSSLError.failedToLoadPrivateKey {
            // The key itself has been read: what fails here is that it fits the certificate.
            let key = identity?.privateKey.place ?? "the configuration"
            let chain = identity?.certificateChain.place ?? "the configuration"
            throw AMQPTLSSource.error(
                "The private key in \(key) does not belong to the first certificate in \(chain)",
                "give the key that the certificate was made for, and a chain with that certificate first"
            )
        } catch {
            var remedy = "check the certificates"
            if case .default? = self.trustRoots {
                remedy += ", and install the system's trusted roots (the package ca-certificates) or set trustRoots"
            }
            throw AMQPError(.local, .tlsFailed, "TLS cannot be set up (\(error)): \(remedy).")
        }
    }
}
