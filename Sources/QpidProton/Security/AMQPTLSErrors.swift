// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// The translation of errors of swift-nio-ssl into an ``AMQPError`` with a cause and a remedy.
enum AMQPTLSErrors {
    /// Translates an error of the TLS layer, or returns `nil` for any other error.
    ///
    /// - Parameters:
    ///   - error: The error from the pipeline.
    ///   - host: The host of the connection; `nil` on the server's side.
    ///   - handler: The TLS handler. Its peer certificate distinguishes an expired certificate from an unknown one.
    static func translate(_ error: any Error, host: String?, handler: NIOSSLHandler?) -> AMQPError? {
        self.translate(error, host: host, certificate: handler?.peerCertificate)
    }

    static func translate(_ error: any Error, host: String?, certificate: NIOSSLCertificate?) -> AMQPError? {
        let side = host.map { "the server '\($0)'" } ?? "the client"
        switch error {
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            return self.failed(
                "the certificate of \(side) is for another host name\(Self.names(in: certificate))",
                "connect with a name that is in the certificate, or set serverName"
            )
        case let error as NIOSSLExtraError where error == .serverHostnameImpossibleToMatch:
            return self.failed(
                "the name of \(side) contains characters that no certificate can match",
                "connect with a name of letters, digits, dots and hyphens, or set serverName"
            )
        case is NIOSSLExtraError:
            return self.unexplained(side)
        case let error as NIOSSLError:
            return self.translate(error, side, isClient: host != nil, certificate)
        case let error as BoringSSLError:
            return self.translate(error, side, isClient: host != nil, certificate)
        case is NIOSSLCloseTimedOutError:
            return AMQPError(
                scope: .connection,
                condition: .connectionLost,
                detail: "TLS was not closed by \(side) in time"
            )
        default:
            return nil
        }
    }

    private static func translate(
        _ error: NIOSSLError,
        _ side: String,
        isClient: Bool,
        _ certificate: NIOSSLCertificate?
    ) -> AMQPError {
        switch error {
        case .handshakeFailed(let error):
            return self.translate(error, side, isClient: isClient, certificate)
        case .uncleanShutdown:
            return AMQPError(
                scope: .connection,
                condition: .connectionLost,
                detail: "\(side) cut the connection: TCP ended before TLS"
            )
        case .noCertificateToValidate:
            return self.failed("\(side) shows no certificate", "give it one, or request none")
        case .unableToValidateCertificate:
            return self.unverified(side, certificate)
        case .shutdownFailed, .writeDuringTLSShutdown:
            return AMQPError(
                scope: .connection,
                condition: .connectionLost,
                detail: "TLS was not closed by \(side)"
            )
        default:
            return self.unexplained(side)
        }
    }

    private static func translate(
        _ error: BoringSSLError,
        _ side: String,
        isClient: Bool,
        _ certificate: NIOSSLCertificate?
    ) -> AMQPError {
        let stack: NIOBoringSSLErrorStack
        switch error {
        case .sslError(let errors), .unknownError(let errors): stack = errors
        default: stack = []
        }
        if stack.contains(.eofDuringHandshake) {
            return self.failed(
                "\(side) closed the connection during the TLS handshake",
                "check that the port speaks TLS, and which TLS versions and certificates it requires"
            )
        }
        // The reasons are found by name, because swift-nio-ssl does not publish BoringSSL's codes.
        let text = stack.map(\.description).joined(separator: "; ")
        let reason = self.reasons.first { text.contains($0.name) }
        switch reason?.meaning {
        case .notTLS?:
            let remedy = isClient ? "use amqp:// or the server's TLS port" : "connect with amqps://"
            return self.failed("\(side) does not speak TLS on this port", remedy)
        case .unverified?:
            return self.unverified(side, certificate)
        case .rejected(let cause)?:
            return self.failed(
                "\(side) rejected our certificate: \(cause)",
                self.rejectedRemedy(isClient)
            )
        case .version?:
            return self.failed("there is no TLS version in common with \(side)", "check minimumVersion on both sides")
        case .noCertificate?:
            return self.failed(
                "\(side) shows no certificate",
                "set the identity of its TLS configuration"
            )
        case .noAgreement?:
            return self.failed(
                "\(side) refused the TLS handshake",
                "check the ciphers and certificates of both sides"
            )
        case nil:
            guard let name = self.reasonName(in: text) else { return self.unexplained(side) }
            return self.failed("TLS with \(side) failed (\(name))", "check the TLS settings of both sides")
        }
    }

    /// Returns the name of an error's reason in plain words, such as "bad record mac"; `nil` if the stack contains no
    /// name.
    ///
    /// An entry of the stack reads `Error: CODE error:CODE:LIBRARY:FUNCTION:REASON at FILE:LINE`.
    private static func reasonName(in text: String) -> String? {
        let names = text.split { $0 == ":" || $0 == " " }
        let name = names.first { name in
            name.utf8.contains(UInt8(ascii: "_")) && name != "OPENSSL_internal"
                && name.utf8.allSatisfy {
                    $0 == UInt8(ascii: "_") || (0x30...0x39).contains($0) || (0x41...0x5a).contains($0)
                }
        }
        return name?.lowercased().replacing("_", with: " ")
    }

    /// Returns the error for a failure without a specific text; the log contains the failure at debug level.
    private static func unexplained(_ side: String) -> AMQPError {
        self.failed("TLS with \(side) failed", "check the TLS settings of both sides")
    }

    private static func unverified(_ side: String, _ certificate: NIOSSLCertificate?) -> AMQPError {
        let now = time(nil)
        if let certificate, certificate.notValidAfter < now {
            return self.failed("the certificate of \(side) has expired", "renew it there")
        }
        if let certificate, certificate.notValidBefore > now {
            return self.failed("the certificate of \(side) is not valid yet", "check the clocks of both machines")
        }
        return self.failed(
            "the certificate of \(side) does not lead to a trusted certificate authority",
            "set trustRoots to the authority that signed it, and have the peer send its intermediate certificates"
        )
    }

    private static func rejectedRemedy(_ isClient: Bool) -> String {
        isClient
            ? "set an identity that the server's certificate authorities have signed"
            : "check the listener's certificate, its host names, and the client's trusted authorities"
    }

    /// The maximum number of host names that an error text lists.
    private static let mostNames = 8

    private static func names(in certificate: NIOSSLCertificate?) -> String {
        guard let bytes = certificate.flatMap({ try? $0.toDERBytes() }) else { return "" }
        let names = CertificateName.hostNames(ofDER: bytes)
        guard !names.isEmpty else { return "" }
        return " (it names \(names.prefix(self.mostNames).joined(separator: ", ")))"
    }

    private static func failed(_ cause: String, _ remedy: String) -> AMQPError {
        AMQPError(scope: .connection, condition: .tlsFailed, detail: "\(cause): \(remedy)")
    }

    private enum Meaning {
        case notTLS
        case unverified
        case rejected(String)
        case version
        case noCertificate
        case noAgreement
    }

    /// Sorted so that a name precedes any shorter name that it contains.
    private static let reasons: [(name: String, meaning: Meaning)] = [
        ("WRONG_VERSION_NUMBER", .notTLS),
        ("HTTP_REQUEST", .notTLS),
        ("HTTPS_PROXY_REQUEST", .notTLS),
        ("CERTIFICATE_VERIFY_FAILED", .unverified),
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", .noCertificate),
        ("ALERT_UNKNOWN_CA", .rejected("it does not know the certificate authority")),
        ("ALERT_CERTIFICATE_EXPIRED", .rejected("it has expired")),
        ("ALERT_CERTIFICATE_REVOKED", .rejected("it was revoked")),
        ("ALERT_CERTIFICATE_REQUIRED", .rejected("it requires one and received none")),
        ("ALERT_BAD_CERTIFICATE", .rejected("it is not acceptable")),
        ("ALERT_CERTIFICATE_UNKNOWN", .rejected("it is not acceptable")),
        ("ALERT_UNSUPPORTED_CERTIFICATE", .rejected("its kind is not supported")),
        ("ALERT_ACCESS_DENIED", .rejected("access is denied")),
        ("ALERT_NO_CERTIFICATE", .rejected("it requires one and received none")),
        ("ALERT_PROTOCOL_VERSION", .version),
        ("UNSUPPORTED_PROTOCOL", .version),
        ("ALERT_HANDSHAKE_FAILURE", .noAgreement),
        ("NO_SHARED_CIPHER", .noAgreement),
    ]
}
