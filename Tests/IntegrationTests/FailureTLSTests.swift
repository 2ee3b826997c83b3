// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import NIOSSL
import QpidProton
import TestSupport
import Testing

/// TLS handshakes that fail with a reason, and handshakes that succeed.
@Suite(.timeLimit(.minutes(2)))
struct FailureTLSTests {
    private let files: TestCertificates

    init() throws {
        self.files = try TestCertificates.files()
    }

    private func listen(
        _ identity: AMQPTLS.Identity,
        _ certificates: AMQPServerTLS.ClientCertificates = .none,
        _ body: (TestListener) async throws -> Void
    ) async throws {
        var configuration = AMQPListener.Configuration()
        configuration.tls = AMQPServerTLS(identity: identity, clientCertificates: certificates)
        try await TestListener.with(configuration, body)
    }

    /// Connects and sends a message.
    @discardableResult
    private func use(_ url: String, _ tls: AMQPTLS, _ sasl: AMQPSASL = .automatic) async throws -> AMQPPeer {
        var configuration = AMQPConnection.Configuration()
        configuration.tls = tls
        configuration.sasl = sasl
        return try await AMQPConnection.withConnection(to: url, configuration: configuration) { connection in
            let sender = try await connection.openSession().openSender(to: "queue")
            #expect(try await sender.send(AMQPMessage(body: "secret")) == .accepted)
            return connection.peer
        }
    }

    // MARK: Certificates that are refused

    @Test func aCertificateForAnotherNameIsRefused() async throws {
        try await self.listen(self.files.wrongHost) { listener in
            let error = try await connectFailure(listener.tlsURL) { $0.tls.trustRoots = self.files.authority }
            #expect(
                error.condition == .tlsFailed && error.scope == .connection && !error.isRetryable
                    && error.underlying != nil
            )
            #expect(error.detail.contains("for another host name"), "\(error)")
            let address = "amqps://127.0.0.1:\(listener.listener.port)"
            let second = try await connectFailure(address) { $0.tls.trustRoots = self.files.authority }
            #expect(second.condition == .tlsFailed && second.detail.contains("for another host name"), "\(second)")
        }
    }

    @Test func anUnknownAuthorityIsRefused() async throws {
        try await self.listen(self.files.server) { listener in
            let error = try await connectFailure(listener.tlsURL) { $0.tls.trustRoots = self.files.otherAuthority }
            #expect(error.condition == .tlsFailed)
            #expect(error.detail.contains("does not lead to a trusted certificate authority"), "\(error)")
            // The system's trust roots do not contain the authority either.
            #expect(try await connectFailure(listener.tlsURL).condition == .tlsFailed)
            #expect(listener.connections.isEmpty)
        }
    }

    @Test func anExpiredCertificateIsRefused() async throws {
        try await self.listen(self.files.expired) { listener in
            let error = try await connectFailure(listener.tlsURL) { $0.tls.trustRoots = self.files.authority }
            #expect(error.condition == .tlsFailed && error.detail.contains("has expired"), "\(error)")
        }
    }

    @Test func aClientWithoutARequiredCertificateIsRefused() async throws {
        try await self.listen(self.files.server, .required(self.files.authority)) { listener in
            let error = try await connectFailure(listener.tlsURL) { $0.tls.trustRoots = self.files.authority }
            #expect(error.condition == .tlsFailed, "\(error)")
            // A certificate of another authority is refused too. This one is self-signed.
            let rival = AMQPTLS.Identity.files(
                certificateChain: self.files.path("other-ca.pem"),
                privateKey: self.files.path("other-ca.key")
            )
            let second = try await connectFailure(listener.tlsURL) {
                $0.tls = AMQPTLS(trustRoots: self.files.authority, identity: rival)
            }
            #expect(second.condition == .tlsFailed, "\(second)")
            #expect(listener.connections.isEmpty)
        }
    }

    // MARK: No TLS on one side

    @Test func plainBytesOnATLSPortFailTheirConnectionAlone() async throws {
        try await self.listen(self.files.server) { listener in
            let url = "amqp://127.0.0.1:\(listener.listener.port)"
            let conditions: [AMQPCondition] = [.connectionLost, .connectionFramingError]
            for sasl in [AMQPSASL.anonymous, .none] {
                let error = try await connectFailure(url) { $0.sasl = sasl }
                #expect(conditions.contains(error.condition), "\(error)")
            }
            try await self.use(listener.tlsURL, AMQPTLS(trustRoots: self.files.authority))
        }
    }

    @Test func tlsOnAPlainPortNamesTheCause() async throws {
        try await TestListener.with { listener in
            let error = try await connectFailure(listener.tlsURL)
            #expect(error.condition == .tlsFailed && error.detail.contains("does not speak TLS"), "\(error)")
            try await AMQPConnection.connect(to: listener.url).close()
        }
    }

    @Test func aSilentHandshakeEndsAtTheOpenTimeout() async throws {
        let socket = try RawSocket()
        socket.listen(backlog: 8)
        let error = try await connectFailure("amqps://localhost:\(socket.port)", within: .seconds(30)) {
            $0.openTimeout = .milliseconds(300)
        }
        #expect(error.condition == .timeout)
    }

    // MARK: Successful handshakes

    @Test func weakerVerificationAcceptsSuchCertificates() async throws {
        try await self.listen(self.files.expired) { listener in
            try await self.use(listener.tlsURL, AMQPTLS(verification: .none))
        }
        try await self.listen(self.files.wrongHost) { listener in
            let trust = self.files.authority
            try await self.use(listener.tlsURL, AMQPTLS(trustRoots: trust, verification: .noHostnameVerification))
            try await self.use(listener.tlsURL, AMQPTLS(trustRoots: trust, serverName: "other.example"))
        }
    }

    @Test func aClientCertificateIsTheIdentityOfExternal() async throws {
        try await self.listen(self.files.server, .required(self.files.authority)) { listener in
            let tls = AMQPTLS(trustRoots: self.files.authority, identity: self.files.client)
            try await self.use(listener.tlsURL, tls, .external)
            let identity = try #require(listener.connections.first?.identity)
            #expect(identity.mechanism == "EXTERNAL" && identity.username == "test-client")
        }
    }

    @Test(arguments: [TLSVersion.tlsv12, .tlsv13])
    func theClientSupportsTLS12And13(_ version: TLSVersion) async throws {
        var server = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(self.files.path("server.pem")).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: self.files.path("server.key"), format: .pem))
        )
        server.minimumTLSVersion = version
        server.maximumTLSVersion = version
        try await ScriptedPeer.with(host: "localhost", tls: try NIOSSLContext(configuration: server)) { _, url in
            try await self.use(url, AMQPTLS(trustRoots: self.files.authority))
        }
    }

    @Test func anOlderVersionIsRefused() async throws {
        var server = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(self.files.path("server.pem")).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: self.files.path("server.key"), format: .pem))
        )
        server.maximumTLSVersion = .tlsv12
        try await ScriptedPeer.with(host: "localhost", tls: try NIOSSLContext(configuration: server)) { _, url in
            let error = try await connectFailure(url) {
                $0.tls = AMQPTLS(trustRoots: self.files.authority, minimumVersion: .tls13)
            }
            #expect(error.condition == .tlsFailed && error.detail.contains("no TLS version in common"), "\(error)")
        }
    }

    @Test(arguments: [TLSVersion.tlsv12, .tlsv13])
    func theListenerSupportsTLS12And13(_ version: TLSVersion) async throws {
        var client = TLSConfiguration.makeClientConfiguration()
        client.trustRoots = .file(self.files.path("ca.pem"))
        client.minimumTLSVersion = version
        client.maximumTLSVersion = version
        let context = try NIOSSLContext(configuration: client)
        try await self.listen(self.files.server) { listener in
            let header = Array("AMQP".utf8) + [0, 1, 0, 0]
            let answer = try await exchange(header, with: listener.listener.port, tls: context) { $0.count >= 8 }
            #expect(answer.prefix(8).elementsEqual(header))
        }
    }
}
