// SPDX-License-Identifier: Apache-2.0

import QpidProton
import TestSupport
import Testing

/// A program on Debian's Proton C++ library: every AMQP type and every message section that `pn_message` carries.
///
/// The exception is `catalogue-extended`: `pn_message` drops the footer and all data sections but the last. The
/// remainder of such messages is tested in ``unsupportedSectionsAreDroppedByThePeer()``.
@Suite(.serialized, .timeLimit(.minutes(4)))
struct InteropCppTests {
    private let interop: Interop

    init() throws {
        self.interop = try Interop(.cpp, catalogues: ["catalogue"])
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

    @Test func plain() async throws {
        var configuration = AMQPListener.Configuration()
        configuration.sasl = AMQPServerSASL { user, password in user == "ann" && password == "secret" }
        let login = ["--user", "ann", "--password", "secret", "--mechanism", "PLAIN"]
        try await self.interop.listenToTheirSender(login, configuration: configuration)
    }

    @Test func tlsBothWays() async throws {
        let files = try TestCertificates.files()
        var listening = AMQPListener.Configuration()
        listening.tls = AMQPServerTLS(identity: files.server)
        let trust = ["--ca", files.path("ca.pem")]
        try await self.interop.listenToTheirSender(trust, scheme: "amqps", configuration: listening)

        var connecting = AMQPConnection.Configuration()
        connecting.tls = AMQPTLS(trustRoots: files.authority)
        let identity = ["--cert", files.path("server.pem"), "--key", files.path("server.key")]
        try await self.interop.sendToTheirListener(identity, scheme: "amqps", configuration: connecting)
    }

    @Test func unsupportedSectionsAreDroppedByThePeer() async throws {
        let lines = try CanonicalText.catalogue("catalogue-extended")
        let (process, port) = try await ForeignPeer.cpp.listen(["--count", "\(lines.count)"])
        let connection = try await AMQPConnection.connect(to: "amqp://127.0.0.1:\(port)")
        let sender = try await connection.openSession().openSender(to: "queue")
        let messages = try lines.map(CanonicalText.message)
        let outcomes = try await within("the outcomes") { await sender.send(contentsOf: messages) }
        #expect(outcomes.allSatisfy { $0 == .success(.accepted) })
        try await connection.close().check()
        try await process.waitForSuccess()
        let received = try process.lines.map(CanonicalText.message)
        #expect(received.map(\.properties) == messages.map(\.properties))
        #expect(received.map(\.applicationProperties) == messages.map(\.applicationProperties))
        #expect(received.allSatisfy { $0.footer.isEmpty })
    }
}
