// SPDX-License-Identifier: Apache-2.0

import NIOSSL
import Testing

@testable import QpidProton

@Suite struct AMQPTLSConfigurationTests {
    let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
        try self.certificates.make("server", subject: "/CN=localhost", alternativeNames: "DNS:localhost")
        try self.certificates.make("other", subject: "/CN=other")
    }

    private func identity(_ chain: String, _ key: String) -> AMQPTLS.Identity {
        .files(certificateChain: self.certificates.path(chain), privateKey: self.certificates.path(key))
    }

    @Test func filesAndBytesThatFit() throws {
        let fromFiles = AMQPTLS(
            trustRoots: .file(self.certificates.path("ca.pem")),
            identity: self.identity("server.pem", "server.key")
        )
        let fromBytes = AMQPTLS(
            trustRoots: .pem(try self.certificates.bytes("ca.pem")),
            identity: .pem(
                certificateChain: try self.certificates.bytes("server.pem"),
                privateKey: try self.certificates.bytes("server.key")
            ),
            minimumVersion: .tls13
        )
        for tls in [fromFiles, fromBytes] {
            for host in ["localhost", "127.0.0.1", "::1", "fe80::1%eth0"] {
                _ = try tls.makeClientHandler(host: host)
            }
        }
        for setting in [
            AMQPServerTLS.ClientCertificates.none, .optional(fromFiles.trustRoots), .required(fromBytes.trustRoots),
        ] {
            _ = try AMQPServerTLS(identity: self.identity("server.pem", "server.key"), clientCertificates: setting)
                .makeServerHandler()
        }
    }

    @Test func aMissingFileIsNamed() {
        let missing = self.certificates.path("missing.pem")
        let configurations = [
            AMQPTLS(trustRoots: .file(missing)),
            AMQPTLS(identity: self.identity("missing.pem", "server.key")),
            AMQPTLS(identity: self.identity("server.pem", "missing.pem")),
        ]
        for tls in configurations {
            let error = #expect(throws: AMQPError.self) { try tls.makeContext() }
            #expect(error?.condition == .invalidArgument && error?.scope == .call)
            #expect(error?.detail.contains(missing) == true && error?.detail.contains("does not exist") == true)
        }
    }

    @Test func filesThatHoldSomethingElse() throws {
        _ = try self.certificates.write("", to: "empty.pem")
        _ = try self.certificates.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", to: "bad.pem")
        try self.certificates.openssl("x509 -in server.pem -outform der -out server.der")
        for name in ["empty.pem", "bad.pem", "server.der", "server.key", "."] {
            let roots = AMQPTLS(trustRoots: .file(self.certificates.path(name)))
            let chain = AMQPTLS(identity: self.identity(name, "server.key"))
            for tls in [roots, chain] {
                let error = #expect(throws: AMQPError.self, "\(name)") { try tls.makeContext() }
                #expect(error?.condition == .invalidArgument)
                #expect(error?.detail.contains(self.certificates.path(name)) == true)
            }
        }
        try self.certificates.openssl("ec -in server.key -aes256 -passout pass:secret -out encrypted.key")
        for name in ["empty.pem", "server.pem", "encrypted.key", "."] {
            let tls = AMQPTLS(identity: self.identity("server.pem", name))
            let error = #expect(throws: AMQPError.self, "\(name)") { try tls.makeContext() }
            #expect(error?.condition == .invalidArgument)
            #expect(error?.detail.contains(self.certificates.path(name)) == true)
        }
    }

    @Test func aKeyOfAnotherCertificate() {
        let identity = self.identity("server.pem", "other.key")
        let client = #expect(throws: AMQPError.self) { try AMQPTLS(identity: identity).makeContext() }
        let server = #expect(throws: AMQPError.self) { try AMQPServerTLS(identity: identity).makeContext() }
        for error in [client, server] {
            #expect(error?.condition == .invalidArgument)
            #expect(error?.detail.contains("does not belong to") == true)
            #expect(error?.detail.contains("other.key") == true && error?.detail.contains("server.pem") == true)
        }
    }

    @Test func namesThatCannotBeVerified() throws {
        let roots = AMQPTLS.TrustRoots.file(self.certificates.path("ca.pem"))
        let context = try AMQPTLS(trustRoots: roots).makeContext()
        for (tls, host) in [
            (AMQPTLS(), "höst.example"), (AMQPTLS(serverName: "192.0.2.1"), "a"), (AMQPTLS(serverName: ""), "a"),
            (AMQPTLS(), String(repeating: "a", count: 256)),
        ] {
            let error = #expect(throws: AMQPError.self) { try tls.makeClientHandler(host: host, context: context) }
            #expect(error?.condition == .invalidArgument)
        }
    }

    @Test func noFormOfAKeyIsShown() throws {
        let identity = AMQPTLS.Identity.pem(certificateChain: Array("chain".utf8), privateKey: Array("key-text".utf8))
        let key = "107, 101, 121"
        for value: Any in [identity, AMQPTLS(identity: identity), AMQPServerTLS(identity: identity)] {
            var dumped = ""
            dump(value, to: &dumped)
            for text in [dumped, "\(value)", String(reflecting: value)] {
                #expect(!text.contains("key-text") && !text.contains(key))
            }
        }
    }
}
