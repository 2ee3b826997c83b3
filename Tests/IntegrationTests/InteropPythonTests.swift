// SPDX-License-Identifier: Apache-2.0

import QpidProton
import TestSupport
import Testing

/// Debian's python3-qpid-proton, which supports every section: every AMQP type and every message section, in both
/// directions.
@Suite(.serialized, .timeLimit(.minutes(4)))
struct InteropPythonTests {
    private let interop: Interop

    init() throws {
        self.interop = try Interop(.python, catalogues: ["catalogue", "catalogue-extended"])
    }

    @Test func weSendToItsListener() async throws {
        try await self.interop.sendToTheirListener()
    }

    @Test func weReceiveFromItsListener() async throws {
        try await self.interop.receiveFromTheirListener()
    }

    @Test func itSendsToOurListener() async throws {
        try await self.interop.listenToTheirSender()
    }

    @Test func itReceivesFromOurListener() async throws {
        try await self.interop.listenAndSendToTheirReceiver()
    }

    @Test func weSendThroughTheBrokerToIt() async throws {
        try await self.interop.sendThroughBroker()
    }

    @Test func itSendsThroughTheBrokerToUs() async throws {
        try await self.interop.receiveThroughBroker()
    }

    @Test func framesOf512BytesBothWays() async throws {
        var listening = AMQPListener.Configuration()
        listening.connection.maxFrameSize = 512
        try await self.interop.listenToTheirSender(["--max-frame", "512"], configuration: listening)
        try await self.interop.listenAndSendToTheirReceiver(["--max-frame", "512"], configuration: listening)
    }

    @Test func settledMessages() async throws {
        try await self.interop.listenToTheirSender(["--settled"])
    }

    @Test func withoutSASL() async throws {
        try await self.interop.listenToTheirSender(["--no-sasl"])
    }

    @Test func plainAndAnonymous() async throws {
        var configuration = AMQPListener.Configuration()
        configuration.sasl = AMQPServerSASL { user, password in user == "ann" && password == "pässword" }
        let login = ["--user", "ann", "--password", "pässword", "--mechanism", "PLAIN"]
        try await self.interop.listenToTheirSender(login, configuration: configuration)
        try await self.interop.listenToTheirSender(["--mechanism", "ANONYMOUS"])
    }

    @Test func wrongPassword() async throws {
        var configuration = AMQPListener.Configuration()
        configuration.sasl = AMQPServerSASL { _, password in password == "right" }
        let login = ["--user", "ann", "--password", "wrong", "--mechanism", "PLAIN"]
        await #expect(throws: ProcessFailure.self) {
            try await self.interop.listenToTheirSender(login, configuration: configuration)
        }
    }

    @Test func tlsWithCertificatesOnBothSides() async throws {
        let files = try TestCertificates.files()
        var listening = AMQPListener.Configuration()
        listening.tls = AMQPServerTLS(identity: files.server, clientCertificates: .required(files.authority))
        let client = [
            "--ca", files.path("ca.pem"), "--cert", files.path("client.pem"), "--key", files.path("client.key"),
        ]
        try await self.interop.listenToTheirSender(client, scheme: "amqps", configuration: listening)

        var connecting = AMQPConnection.Configuration()
        connecting.tls = AMQPTLS(trustRoots: files.authority, identity: files.client)
        let server = [
            "--ca", files.path("ca.pem"), "--cert", files.path("server.pem"), "--key", files.path("server.key"),
        ]
        connecting.sasl = .anonymous
        try await self.interop.sendToTheirListener(server, scheme: "amqps", configuration: connecting)
    }

    @Test func heartbeatsOfAQuietPeer() async throws {
        // The peer requires a frame every 500 ms and sends one itself. Nothing else is sent for 2 s.
        try await TestListener.with { listener in
            let arguments = ["receive", listener.url, "queue", "--heartbeat", "0.5", "--timeout", "2"]
            let process = try ForeignPeer.python.start(arguments)
            try await waitUntil("it gives up") { !process.isRunning }
            #expect(process.errors.contains("timed out after 2"), "\(process.errors)")
            #expect(!process.errors.contains("idle"))
        }
    }
}
