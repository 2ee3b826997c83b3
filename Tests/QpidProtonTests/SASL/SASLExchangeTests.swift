// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import NIOSSL
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// A client and a server connected to each other.
@Suite struct SASLExchangeTests {
    static let plain = SASLPlainClient(username: "ann", password: Redacted("s3cret"))
    static let checking = AMQPServerSASL { username, password in
        await Task.yield()
        return username == "ann" && password == "s3cret"
    }

    @Test(arguments: [Int.max, 1, 7])
    func anonymous(chunk: Int) async throws {
        let client = try await SASLTestPeer.client([SASLAnonymous()])
        let server = try await SASLTestPeer.server(.anonymous)
        try await SASLTestPeer.exchange(client.channel, server.channel, chunk: chunk) {
            client.state.identity != nil && server.state.identity != nil
        }
        for peer in [client, server] {
            #expect(peer.state.events == ["completed", "active", "readComplete"])
            #expect(peer.state.identity == AMQPAuthenticatedIdentity(mechanism: "ANONYMOUS", username: nil))
        }
    }

    @Test(arguments: [Int.max, 1, 7])
    func plainWithTheRightPassword(chunk: Int) async throws {
        let client = try await SASLTestPeer.client([Self.plain])
        let server = try await SASLTestPeer.server(Self.checking)
        try await SASLTestPeer.exchange(client.channel, server.channel, chunk: chunk) {
            client.state.identity != nil && server.state.identity != nil
        }
        for peer in [client, server] {
            #expect(peer.state.events == ["completed", "active", "readComplete"])
            #expect(peer.state.identity == AMQPAuthenticatedIdentity(mechanism: "PLAIN", username: "ann"))
        }
    }

    @Test func plainWithAWrongPassword() async throws {
        let client = try await SASLTestPeer.client([
            SASLPlainClient(username: "ann", password: Redacted("guessed"))
        ])
        let server = try await SASLTestPeer.server(Self.checking)
        try await SASLTestPeer.exchange(client.channel, server.channel) {
            !client.state.errors.isEmpty && !server.state.errors.isEmpty
        }
        #expect(client.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(client.state.errors.first?.origin == .peer)
        #expect(client.state.errors.first?.scope == .connection)
        #expect(server.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(!client.channel.isActive && !server.channel.isActive)
        #expect(client.state.identity == nil && server.state.identity == nil)
        #expect(!client.state.events.contains("active") && !server.state.events.contains("active"))
        #expect(!"\(client.state.errors) \(server.state.errors)".contains("guessed"))
    }

    @Test func external() async throws {
        var security = SASLTestPeer.encrypted
        security.hasPeerCertificate = true
        security.peerCertificateName = "device 7"
        let client = try await SASLTestPeer.client([SASLExternalClient(), SASLAnonymous()])
        let server = try await SASLTestPeer.server(.init(allowsAnonymous: true), security: security)
        try await SASLTestPeer.exchange(client.channel, server.channel) {
            client.state.identity != nil && server.state.identity != nil
        }
        #expect(client.state.identity?.mechanism == "EXTERNAL")
        #expect(server.state.identity == AMQPAuthenticatedIdentity(mechanism: "EXTERNAL", username: "device 7"))
    }

    @Test func externalIsNotOfferedWithoutACertificate() async throws {
        let client = try await SASLTestPeer.client([SASLExternalClient()])
        let server = try await SASLTestPeer.server(.anonymous, security: SASLTestPeer.encrypted)
        try await SASLTestPeer.exchange(client.channel, server.channel) { !client.state.errors.isEmpty }
        #expect(client.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(client.state.errors.first?.detail.contains("ANONYMOUS") == true)
        #expect(client.state.errors.first?.detail.contains("EXTERNAL") == true)
    }

    @Test func noMechanismInCommon() async throws {
        let client = try await SASLTestPeer.client([SASLAnonymous()])
        let server = try await SASLTestPeer.server(Self.checking)
        try await SASLTestPeer.exchange(client.channel, server.channel) { !client.state.errors.isEmpty }
        #expect(client.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(client.state.errors.first?.detail.contains("the server offers PLAIN") == true)
        #expect(!client.channel.isActive)
    }

    @Test func theFirstCandidateThatIsOfferedIsUsed() async throws {
        let client = try await SASLTestPeer.client([Self.plain, SASLExternalClient(), SASLAnonymous()])
        try await client.deliver(ProtocolHeader.saslBytes)
        _ = try await client.sent()
        try await client.deliver(.mechanisms(["SCRAM-SHA-256", "ANONYMOUS", "EXTERNAL"]))
        let frames = try await client.sentFrames()
        #expect(frames == [.initialise(mechanism: "EXTERNAL", response: [], hostname: "example.com")])
    }

    @Test func nothingIsLoggedOfAPassword() async throws {
        let clientLog = LogLines()
        let serverLog = LogLines()
        let client = try await SASLTestPeer.client([Self.plain], logger: clientLog.logger)
        let server = try await SASLTestPeer.server(Self.checking, logger: serverLog.logger)
        try await SASLTestPeer.exchange(client.channel, server.channel) {
            client.state.identity != nil && server.state.identity != nil
        }
        for text in [clientLog.text, serverLog.text] {
            #expect(text.contains("sasl-init") && text.contains("PLAIN") && text.contains("SASL completed"))
            #expect(!text.contains("s3cret"))
        }
    }

    @Test func aCheckOutlivedByItsChannelIsCancelledAndIgnored() async throws {
        let wasCancelled = Mutex(false)
        let isRunning = Mutex(false)
        let server = try await SASLTestPeer.server(
            AMQPServerSASL { _, _ in
                isRunning.withLock { $0 = true }
                while !Task.isCancelled { await Task.yield() }
                wasCancelled.withLock { $0 = true }
                return true
            }
        )
        try await server.deliver(ProtocolHeader.saslBytes)
        try await server.deliver(.initialise(mechanism: "PLAIN", response: Array("\0ann\0x".utf8), hostname: nil))
        try await server.wait { _ in isRunning.withLock { $0 } }
        _ = try await server.sent()
        try await server.endOfInput()
        try await server.wait { _ in wasCancelled.withLock { $0 } }
        await server.channel.testingEventLoop.run()
        #expect(server.state.events == ["error", "inactive"])
        #expect(server.state.errors.map(\.condition) == [.connectionLost])
        #expect(try await server.sent().isEmpty)
    }

    @Test func tooManyBytesDuringACheck() async throws {
        let server = try await SASLTestPeer.server(
            AMQPServerSASL(maxFrameSize: 512) { _, _ in
                while !Task.isCancelled { await Task.yield() }
                return true
            }
        )
        try await server.deliver(ProtocolHeader.saslBytes)
        try await server.deliver(.initialise(mechanism: "PLAIN", response: Array("\0ann\0x".utf8), hostname: nil))
        try await server.deliver([UInt8](repeating: 0, count: 512))
        #expect(server.state.errors.isEmpty)
        try await server.deliver([0])
        #expect(server.state.errors.map(\.condition) == [.connectionFramingError])
        #expect(!server.channel.isActive)
    }

    @Test func bytesDuringACheckReachTheNextHandler() async throws {
        let mayAnswer = Mutex(false)
        let server = try await SASLTestPeer.server(
            AMQPServerSASL { _, _ in
                while !mayAnswer.withLock({ $0 }) { await Task.yield() }
                return true
            }
        )
        let plainHeader = Array("AMQP".utf8) + [0, 1, 0, 0]
        let initialise = SASLFrame.initialise(
            mechanism: "PLAIN",
            response: Array("\0ann\0s3cret".utf8),
            hostname: nil
        )
        try await server.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([initialise]) + plainHeader)
        try await server.deliver([1, 2, 3])
        mayAnswer.withLock { $0 = true }
        try await server.wait { $0.bytes.count == 11 }
        #expect(server.state.events == ["completed", "active", "read", "readComplete"])
        #expect(server.state.bytes == plainHeader + [1, 2, 3])
        // The handler has removed itself, and later bytes pass unchanged.
        try await server.deliver([4])
        #expect(server.state.bytes.last == 4)
    }
}
