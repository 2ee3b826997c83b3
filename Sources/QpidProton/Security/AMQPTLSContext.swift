// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL

extension AMQPTLS {
    /// Builds the context that all connections of this configuration share. The function reads files and blocks: call
    /// it once and outside the event loop.
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

    /// Creates the handler for one connection.
    ///
    /// An IP address is not sent as SNI. TLS then verifies the certificate against the address of the channel's peer.
    ///
    /// - Parameters:
    ///   - host: The host of the connection.
    ///   - context: The context from ``makeContext()``.
    func makeClientHandler(host: String, context: NIOSSLContext) throws(AMQPError) -> NIOSSLClientHandler {
        let name = try self.name(for: host)
        do {
            return try NIOSSLClientHandler(context: context, serverHostname: name)
        } catch {
            let shown = (name ?? host).debugDescription
            throw AMQPTLSSource.error("\(shown) cannot be used as a TLS server name", "set serverName to a host's name")
        }
    }

    /// Returns the name to request and to verify, without a final dot (RFC 6066 §3); `nil` for an IP address, which is
    /// not sent.
    ///
    /// - Parameter host: The host of the connection; ``serverName`` takes precedence.
    /// - Throws: `AMQPError` for a name that cannot be requested, or that no certificate can match.
    func name(for host: String) throws(AMQPError) -> String? {
        if self.serverName == nil, AddressChecks.isIPAddress(host) { return nil }
        var name = self.serverName ?? host
        let field = self.serverName == nil ? "the host" : "serverName"
        let shown = "\(field) \(name.debugDescription)"
        if name.hasSuffix(".") { name.removeLast() }
        if name.isEmpty { throw AMQPTLSSource.error("\(shown) is empty", "set a host's name, or nil for the host") }
        if AddressChecks.isIPAddress(name) {
            throw AMQPTLSSource.error(
                "\(shown) is an IP address, which TLS cannot request",
                "set a host's name, or nil to verify the address of the connection"
            )
        }
        if name.utf8.contains(where: { $0 >= 0x80 }) {
            throw AMQPTLSSource.error(
                "\(shown) cannot be verified with TLS: it is not ASCII",
                "write it in its ASCII form, which starts with xn--"
            )
        }
        guard name.utf8.allSatisfy(AddressChecks.isNameByte) else {
            throw AMQPTLSSource.error(
                "\(shown) contains a character that a host's name cannot have",
                "use letters, digits, hyphens and dots"
            )
        }
        if self.verification == .full, name.utf8.contains(UInt8(ascii: "_")) {
            throw AMQPTLSSource.error(
                "\(shown) contains an underscore, which no certificate can match",
                "set serverName to a name that is in the server's certificate"
            )
        }
        // RFC 1035 §2.3.4.
        let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard name.utf8.count <= AddressChecks.longestName, labels.allSatisfy({ (1...63).contains($0.count) }) else {
            throw AMQPTLSSource.error(
                "\(shown) is not a host's name",
                "a name has at most \(AddressChecks.longestName) bytes, and 1 to 63 between its dots"
            )
        }
        return name
    }

    /// Builds the context and the handler. The function reads files and blocks.
    func makeClientHandler(host: String) throws(AMQPError) -> NIOSSLClientHandler {
        try self.makeClientHandler(host: host, context: try self.makeContext())
    }

}

extension AMQPServerTLS {
    /// Builds the context that all connections of this configuration share. The function reads files and blocks: call
    /// it once and outside the event loop.
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
            // Only the chain is verified, because a client's certificate names no host.
            configuration.certificateVerification = .noHostnameVerification
            configuration.trustRoots = try trustRoots.roots()
        }
        return try configuration.makeContext(self.identity)
    }

    /// Creates the handler for one connection.
    func makeServerHandler(context: NIOSSLContext) -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: context)
    }

    /// Builds the context and the handler. The function reads files and blocks.
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
            // The key was readable, so the failure is that it does not belong to the certificate.
            let key = identity?.privateKey.place ?? "the configuration"
            let chain = identity?.certificateChain.place ?? "the configuration"
            throw AMQPTLSSource.error(
                "the private key in \(key) does not belong to the first certificate in \(chain)",
                "set the key of the certificate, and a chain with that certificate first"
            )
        } catch {
            var remedy = "check the certificates"
            if case .default? = self.trustRoots {
                remedy += ", and install the system's trusted roots (the package ca-certificates) or set trustRoots"
            }
            throw AMQPTLSSource.error("the TLS settings cannot be used", remedy)
        }
    }
}
