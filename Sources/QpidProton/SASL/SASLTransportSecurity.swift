// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL

/// The security of a connection, as the layers below SASL provide it.
struct SASLTransportSecurity: Hashable, Sendable {
    /// Whether the bytes are encrypted.
    var isEncrypted: Bool
    /// Whether the peer is on this machine, so that no byte reaches a network.
    var isLocal: Bool
    /// Whether TLS has verified a certificate of the peer.
    var hasPeerCertificate = false
    /// The common name in the peer's certificate; `nil` if there is none.
    var peerCertificateName: String?

    /// Whether a password may be sent in clear text.
    var isConfidential: Bool { self.isEncrypted || self.isLocal }
}

extension SASLTransportSecurity {
    /// Reads the pipeline and the remote address. TLS has the certificate only after its handshake, so a server reads
    /// it with the client's first decrypted bytes.
    ///
    /// - Parameters:
    ///   - context: The place of the SASL layer in the pipeline.
    ///   - address: The address to which a client connected. The socket loses this address when the peer resets the
    ///     connection.
    init(context: ChannelHandlerContext, address: SocketAddress?) {
        let tls = try? context.pipeline.syncOperations.handler(type: NIOSSLHandler.self)
        let certificate = tls?.peerCertificate
        self.init(
            isEncrypted: tls != nil,
            isLocal: Self.isLocal(address ?? context.remoteAddress),
            hasPeerCertificate: certificate != nil,
            peerCertificateName: certificate.flatMap { try? $0.toDERBytes() }.flatMap(
                CertificateName.commonName(ofDER:)
            )
        )
    }

    /// Returns whether an address is a loopback address or a Unix socket.
    static func isLocal(_ address: SocketAddress?) -> Bool {
        switch address {
        // The text is canonical, because inet_ntop wrote it from the address's bytes.
        case .v4: return address?.ipAddress?.hasPrefix("127.") ?? false
        case .v6: return address?.ipAddress.map { $0 == "::1" || $0.hasPrefix("::ffff:127.") } ?? false
        case .unixDomainSocket: return true
        case nil: return false
        }
    }
}
