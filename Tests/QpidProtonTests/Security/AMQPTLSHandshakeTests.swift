// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import NIOSSL
import TestSupport
import Testing

@testable import QpidProton

/// TLS and SASL between two in-memory channels.
@Suite struct AMQPTLSHandshakeTests {
    private let files: TestCertificates

    init() throws {
        self.files = try TestCertificates.files()
    }

    /// Translates an error of the TLS layer as the connection does.
    private final class Translator: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let host: String?

        init(host: String?) { self.host = host }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            let tls = try? context.pipeline.syncOperations.handler(type: NIOSSLHandler.self)
            context.fireErrorCaught(AMQPTLSErrors.translate(error, host: self.host, handler: tls) ?? error)
        }
    }

    private struct Side: Sendable {
        let channel: NIOAsyncTestingChannel
        let recorder: SASLRecorder
        var isSettled: Bool { self.recorder.state.identity != nil || !self.recorder.state.errors.isEmpty }
        var error: AMQPError? { self.recorder.state.errors.first }
    }

    private func client(_ tls: AMQPTLS, host: String, address: String = "127.0.0.1") async throws -> Side {
        let recorder = SASLRecorder()
        let context = try tls.makeContext()
        let channel = try await NIOAsyncTestingChannel { channel in
            let sasl = try AMQPSASL.automatic.makeClientHandler(
                username: nil,
                password: nil,
                hasClientCertificate: tls.identity != nil,
                hostname: host,
                logger: LogLines().logger
            )
            let handlers: [any ChannelHandler] = [
                try tls.makeClientHandler(host: host, context: context), try #require(sasl), Translator(host: host),
                recorder,
            ]
            try channel.pipeline.syncOperations.addHandlers(handlers)
        }
        try await channel.connect(to: SocketAddress(ipAddress: address, port: 5671)).get()
        return Side(channel: channel, recorder: recorder)
    }

    private func server(_ tls: AMQPServerTLS) async throws -> Side {
        let recorder = SASLRecorder()
        let context = try tls.makeContext()
        let channel = try await NIOAsyncTestingChannel { channel in
            let handlers: [any ChannelHandler] = [
                tls.makeServerHandler(context: context),
                AMQPServerSASL.anonymous.makeServerHandler(logger: LogLines().logger), Translator(host: nil), recorder,
            ]
            try channel.pipeline.syncOperations.addHandlers(handlers)
        }
        try await channel.connect(to: SocketAddress(ipAddress: "192.0.2.7", port: 40_000)).get()
        return Side(channel: channel, recorder: recorder)
    }

    private func connect(
        _ tls: AMQPTLS,
        host: String = "localhost",
        address: String = "127.0.0.1",
        to serverTLS: AMQPServerTLS
    ) async throws -> (Side, Side) {
        let client = try await self.client(tls, host: host, address: address)
        let server = try await self.server(serverTLS)
        try await SASLTestPeer.exchange(client.channel, server.channel) { client.isSettled && server.isSettled }
        return (client, server)
    }

    @Test func aCertificateOfTheClientBecomesItsIdentity() async throws {
        let (client, server) = try await self.connect(
            AMQPTLS(trustRoots: self.files.authority, identity: self.files.client),
            to: AMQPServerTLS(identity: self.files.server, clientCertificates: .required(self.files.authority))
        )
        #expect(client.recorder.state.identity?.mechanism == "EXTERNAL")
        #expect(
            server.recorder.state.identity == AMQPAuthenticatedIdentity(mechanism: "EXTERNAL", username: "test-client")
        )
        #expect(server.recorder.state.events.prefix(2) == ["completed", "active"])
    }

    @Test func namesAndAddressesThatAreAccepted() async throws {
        let server = AMQPServerTLS(identity: self.files.server, clientCertificates: .optional(self.files.authority))
        let cases: [(AMQPTLS, String, String)] = [
            (AMQPTLS(trustRoots: self.files.authority), "localhost", "127.0.0.1"),
            (AMQPTLS(trustRoots: self.files.authority), "LOCALHOST", "10.0.0.1"),
            (AMQPTLS(trustRoots: self.files.authority, minimumVersion: .tls13), "127.0.0.1", "127.0.0.1"),
            (AMQPTLS(trustRoots: self.files.authority, serverName: "broker.example"), "10.0.0.1", "10.0.0.1"),
            (AMQPTLS(trustRoots: self.files.authority, verification: .noHostnameVerification), "elsewhere", "10.0.0.1"),
            (AMQPTLS(trustRoots: self.files.otherAuthority, verification: .none), "elsewhere", "10.0.0.1"),
        ]
        for (tls, host, address) in cases {
            let (client, other) = try await self.connect(tls, host: host, address: address, to: server)
            #expect(client.error == nil && other.error == nil)
            #expect(client.recorder.state.identity?.mechanism == "ANONYMOUS")
        }
    }

    @Test func aWrongName() async throws {
        let tls = AMQPTLS(trustRoots: self.files.authority)
        // swift-nio-ssl also accepts a certificate that names the address itself, so the address here differs.
        for (host, address) in [("elsewhere", "10.0.0.1"), ("10.0.0.1", "10.0.0.1")] {
            let client = try await self.client(tls, host: host, address: address)
            let server = try await self.server(AMQPServerTLS(identity: self.files.server))
            try await SASLTestPeer.exchange(client.channel, server.channel) { client.isSettled }
            #expect(client.error?.condition == .tlsFailed && client.error?.scope == .connection)
            let names = "another host name (it names localhost, broker.example)"
            #expect(client.error?.detail.contains(names) == true, "\(client.recorder.state.errors)")
            #expect(client.error?.detail.contains(host) == true)
            #expect(client.recorder.state.errors.count == 1)
        }
    }

    @Test func anUnknownAuthority() async throws {
        let (client, server) = try await self.connect(
            AMQPTLS(trustRoots: self.files.otherAuthority),
            to: AMQPServerTLS(identity: self.files.server)
        )
        #expect(client.error?.condition == .tlsFailed)
        #expect(client.error?.detail.contains("does not lead to a trusted certificate authority") == true)
        #expect(server.error?.condition == .tlsFailed)
        #expect(server.error?.detail.contains("rejected our certificate") == true, "\(server.recorder.state.errors)")
    }

    @Test func anExpiredCertificate() async throws {
        let (client, server) = try await self.connect(
            AMQPTLS(trustRoots: self.files.authority),
            to: AMQPServerTLS(identity: self.files.expired)
        )
        #expect(client.error?.condition == .tlsFailed)
        #expect(client.error?.detail.contains("has expired") == true, "\(client.recorder.state.errors)")
        #expect(server.error?.detail.contains("rejected our certificate") == true, "\(server.recorder.state.errors)")
    }

    @Test func aClientCertificateThatIsNotAccepted() async throws {
        let server = AMQPServerTLS(identity: self.files.server, clientCertificates: .required(self.files.authority))
        let cases: [(AMQPTLS.Identity?, String)] = [
            (self.files.stranger, "trusted certificate authority"), (nil, "shows no certificate"),
        ]
        for (identity, serverText) in cases {
            // With TLS 1.3 the client has finished, and sends its SASL header, before the server has checked the
            // certificate.
            let (client, other) = try await self.connect(
                AMQPTLS(trustRoots: self.files.authority, identity: identity),
                to: server
            )
            #expect(client.error?.condition == .tlsFailed)
            #expect(
                client.error?.detail.contains("rejected our certificate") == true,
                "\(client.recorder.state.errors)"
            )
            #expect(other.error?.condition == .tlsFailed)
            #expect(other.error?.detail.contains(serverText) == true, "\(other.recorder.state.errors)")
            #expect(other.recorder.state.identity == nil)
        }
    }

    @Test func aPeerWithoutTLS() async throws {
        let client = try await self.client(AMQPTLS(trustRoots: self.files.authority), host: "localhost")
        _ = try? await client.channel.writeInbound(ByteBuffer(string: "AMQP\u{0}\u{1}\u{0}\u{0}and more bytes"))
        #expect(client.error?.detail.contains("does not speak TLS") == true, "\(client.recorder.state.errors)")
        #expect(client.error?.detail.contains("amqp://") == true)
        let server = try await self.server(AMQPServerTLS(identity: self.files.server))
        _ = try? await server.channel.writeInbound(ByteBuffer(bytes: ProtocolHeader.saslBytes + [0, 0, 0, 0]))
        #expect(server.error?.detail.contains("does not speak TLS") == true, "\(server.recorder.state.errors)")
    }

    @Test func theEndDuringTheHandshake() async throws {
        let client = try await self.client(AMQPTLS(trustRoots: self.files.authority), host: "localhost")
        try await client.channel.testingEventLoop.perform { client.channel.pipeline.fireChannelInactive() }
        #expect(client.error?.condition == .tlsFailed)
        #expect(client.error?.detail.contains("closed the connection during the TLS handshake") == true)
        #expect(client.recorder.state.events == ["error", "inactive"])
    }

    @Test func errorsThatAreNotOfTLS() {
        #expect(AMQPTLSErrors.translate(ChannelError.eof, host: "a", certificate: nil) == nil)
        let unclean = AMQPTLSErrors.translate(NIOSSLError.uncleanShutdown, host: "a", certificate: nil)
        #expect(unclean?.condition == .connectionLost)
    }

    @Test func commonNames() throws {
        let cases = [("client", "test-client"), ("stranger", "stranger"), ("server", "localhost")]
        for (file, name) in cases {
            let certificate = try #require(
                try NIOSSLCertificate.fromPEMFile(self.files.path("\(file).pem")).first
            )
            let bytes = try certificate.toDERBytes()
            #expect(CertificateName.commonName(ofDER: bytes) == name)
            let hosts = file == "server" ? ["localhost", "broker.example"] : []
            #expect(CertificateName.hostNames(ofDER: bytes) == hosts)
            for count in 0..<bytes.count {
                let found = CertificateName.commonName(ofDER: Array(bytes.prefix(count)))
                #expect(found == nil || found == name)
                #expect(CertificateName.hostNames(ofDER: Array(bytes.prefix(count))).count <= hosts.count)
            }
        }
        let nameless = try #require(try NIOSSLCertificate.fromPEMFile(self.files.path("nameless.pem")).first)
        #expect(CertificateName.commonName(ofDER: try nameless.toDERBytes()) == nil)
    }
}
