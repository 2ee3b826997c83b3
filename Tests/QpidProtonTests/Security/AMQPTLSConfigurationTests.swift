// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOSSL
import TestSupport
import Testing

@testable import QpidProton

@Suite struct AMQPTLSConfigurationTests {
    private let files: TestCertificates
    /// The folder for files that are not certificates.
    private let folder: TemporaryFolder

    init() throws {
        self.files = try TestCertificates.files()
        self.folder = try TemporaryFolder()
    }

    private func write(_ text: String, to name: String) throws -> String {
        try Data(text.utf8).write(to: self.folder.file(name))
        return self.folder.file(name).path
    }

    private func identity(_ chain: String, _ key: String) -> AMQPTLS.Identity {
        .files(certificateChain: chain, privateKey: key)
    }

    @Test func filesAndBytesThatFit() throws {
        let fromFiles = AMQPTLS(trustRoots: self.files.authority, identity: self.files.server)
        let fromBytes = AMQPTLS(
            trustRoots: .pem(try self.files.bytes("ca.pem")),
            identity: .pem(
                certificateChain: try self.files.bytes("server.pem"),
                privateKey: try self.files.bytes("server.key")
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
            _ = try AMQPServerTLS(identity: self.files.server, clientCertificates: setting).makeServerHandler()
        }
    }

    @Test func aMissingFileIsNamed() {
        let missing = self.folder.file("missing.pem").path
        let configurations = [
            AMQPTLS(trustRoots: .file(missing)),
            AMQPTLS(identity: self.identity(missing, self.files.path("server.key"))),
            AMQPTLS(identity: self.identity(self.files.path("server.pem"), missing)),
        ]
        for tls in configurations {
            let error = #expect(throws: AMQPError.self) { try tls.makeContext() }
            #expect(error?.condition == .invalidArgument && error?.scope == .call)
            #expect(error?.detail.contains(missing) == true && error?.detail.contains("does not exist") == true)
        }
    }

    @Test func filesThatHoldSomethingElse() throws {
        let (chain, key) = (self.files.path("server.pem"), self.files.path("server.key"))
        let empty = try self.write("", to: "empty.pem")
        let bad = try self.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", to: "bad.pem")
        let binary = self.folder.file("server.der").path
        try Self.openssl("x509", "-in", chain, "-outform", "der", "-out", binary)
        for path in [empty, bad, binary, key, self.folder.url.path] {
            let roots = AMQPTLS(trustRoots: .file(path))
            for tls in [roots, AMQPTLS(identity: self.identity(path, key))] {
                let error = #expect(throws: AMQPError.self, "\(path)") { try tls.makeContext() }
                #expect(error?.condition == .invalidArgument)
                #expect(error?.detail.contains(path) == true)
            }
        }
        let encrypted = self.folder.file("encrypted.key").path
        try Self.openssl("ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", encrypted)
        for path in [empty, chain, encrypted, self.folder.url.path] {
            let tls = AMQPTLS(identity: self.identity(chain, path))
            let error = #expect(throws: AMQPError.self, "\(path)") { try tls.makeContext() }
            #expect(error?.condition == .invalidArgument)
            #expect(error?.detail.contains(path) == true)
        }
    }

    private static func openssl(_ arguments: String...) throws {
        try ChildProcess.run("/usr/bin/env", ["openssl"] + arguments)
    }

    @Test func aKeyOfAnotherCertificate() {
        let identity = self.identity(self.files.path("server.pem"), self.files.path("client.key"))
        let client = #expect(throws: AMQPError.self) { try AMQPTLS(identity: identity).makeContext() }
        let server = #expect(throws: AMQPError.self) { try AMQPServerTLS(identity: identity).makeContext() }
        for error in [client, server] {
            #expect(error?.condition == .invalidArgument)
            #expect(error?.detail.contains("does not belong to") == true)
            #expect(error?.detail.contains("client.key") == true && error?.detail.contains("server.pem") == true)
        }
    }

    @Test func namesThatCannotBeVerified() throws {
        let context = try AMQPTLS(trustRoots: self.files.authority).makeContext()
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
