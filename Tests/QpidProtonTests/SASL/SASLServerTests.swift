// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import Testing

@testable import QpidProton

/// The server against handwritten bytes.
@Suite struct SASLServerTests {
    static let plainHeader = Array("AMQP".utf8) + [0, 1, 0, 0]
    static let checking = AMQPServerSASL { username, password in username == "ann" && password == "s3cret" }

    @Test func sendsNothingBeforeTheClient() async throws {
        let server = try await SASLTestPeer.server(.anonymous)
        #expect(try await server.sent().isEmpty)
        #expect(server.state.events.isEmpty)
    }

    @Test func offersTheMechanismsThatTheConnectionAllows() async throws {
        var certified = SASLTestPeer.encrypted
        certified.hasPeerCertificate = true
        let check = Self.checking.checkPassword
        let cases: [(AMQPServerSASL, SASLTransportSecurity, [String])] = [
            (.anonymous, SASLTestPeer.remote, ["ANONYMOUS"]),
            (.anonymous, certified, ["EXTERNAL", "ANONYMOUS"]),
            (Self.checking, SASLTestPeer.local, ["PLAIN"]),
            (Self.checking, SASLTestPeer.encrypted, ["PLAIN"]),
            (Self.checking, certified, ["EXTERNAL", "PLAIN"]),
            (.init(allowsExternal: false, checkPassword: check), certified, ["PLAIN"]),
            (.init(allowsAnonymous: true, checkPassword: check), SASLTestPeer.local, ["PLAIN", "ANONYMOUS"]),
            (.init(allowsAnonymous: true, checkPassword: check), SASLTestPeer.remote, ["ANONYMOUS"]),
            (.init(allowsPlainWithoutTLS: true, checkPassword: check), SASLTestPeer.remote, ["PLAIN"]),
        ]
        for (configuration, security, names) in cases {
            let server = try await SASLTestPeer.server(configuration, security: security)
            try await server.deliver(ProtocolHeader.saslBytes)
            #expect(try await server.sentFrames(header: true) == [.mechanisms(names)])
        }
    }

    @Test func aServerWithoutMechanismsSendsAnEmptyList() async throws {
        let server = try await SASLTestPeer.server(Self.checking, security: SASLTestPeer.remote)
        try await server.deliver(ProtocolHeader.saslBytes)
        #expect(try await server.sentFrames(header: true) == [.mechanisms([])])
        #expect(server.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(!server.channel.isActive)
    }

    @Test func aPeerWithoutSASLIsAdmittedOnlyIfAllowed() async throws {
        let check = Self.checking.checkPassword
        let cases: [(AMQPServerSASL, Bool)] = [
            (.anonymous, true), (Self.checking, false), (.init(allowsAnonymous: false), false),
            (.init(allowsAnonymous: true, checkPassword: check), false),
            (.init(allowsNoSASL: true, checkPassword: check), true), (.init(allowsNoSASL: false), false),
        ]
        for (configuration, isLetIn) in cases {
            let server = try await SASLTestPeer.server(configuration)
            try await server.deliver(Self.plainHeader + [5])
            if isLetIn {
                #expect(server.state.events == ["completed", "active", "read", "readComplete"])
                #expect(server.state.bytes == Self.plainHeader + [5])
                #expect(server.state.identity == AMQPAuthenticatedIdentity(mechanism: nil, username: nil))
                #expect(try await server.sent().isEmpty)
            } else {
                #expect(server.state.errors.map(\.condition) == [.unauthorizedAccess])
                #expect(try await server.sent() == ProtocolHeader.saslBytes)
                #expect(server.state.bytes.isEmpty && !server.channel.isActive)
            }
        }
    }

    static let protocols: [([UInt8], String)] = [
        (SASLClientTests.header(0, 0, 9, 1), "0-9-1"), ([0x16, 3, 1, 2, 0], "both need amqps://"),
        (Array("GET / HTTP/1.1".utf8), "an unknown protocol"),
    ]

    @Test(arguments: Self.protocols)
    func otherProtocolsGetTheHeaderAndAClose(bytes: [UInt8], text: String) async throws {
        let server = try await SASLTestPeer.server(.anonymous)
        try await server.deliver(bytes)
        #expect(try await server.sent() == ProtocolHeader.saslBytes)
        #expect(server.state.errors.map(\.condition) == [.connectionFramingError])
        #expect(server.state.errors.first?.detail.contains(text) == true)
        #expect(!server.channel.isActive)
    }

    @Test func plainWithoutAnInitialResponseIsAskedForIt() async throws {
        let server = try await SASLTestPeer.server(Self.checking)
        try await server.deliver(ProtocolHeader.saslBytes)
        _ = try await server.sent()
        try await server.deliver(.initialise(mechanism: "PLAIN", response: nil, hostname: nil))
        #expect(try await server.sentFrames() == [.challenge([])])
        try await server.deliver(.response(Array("ann\0ann\0s3cret".utf8)))
        try await server.wait { $0.identity != nil }
        #expect(server.state.identity?.username == "ann")
        #expect(try await server.sentFrames() == [.outcome(.ok, additionalData: nil)])
    }

    @Test(arguments: [
        "", "ann", "\0ann", "\0ann\0s3cret\0", "bob\0ann\0s3cret", "\0\0s3cret", "\0ann\0", "\0ann\0wrong",
    ])
    func plainMessagesThatAreRefused(message: String) async throws {
        let server = try await SASLTestPeer.server(Self.checking)
        try await server.deliver(ProtocolHeader.saslBytes)
        _ = try await server.sent()
        try await server.deliver(.initialise(mechanism: "PLAIN", response: Array(message.utf8), hostname: nil))
        try await server.wait { !$0.errors.isEmpty }
        #expect(server.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(try await server.sentFrames() == [.outcome(.auth, additionalData: nil)])
        #expect(!server.channel.isActive)
        #expect(!"\(server.state.errors)".contains("s3cret"))
    }

    @Test func plainThatIsNotUTF8IsRefused() async throws {
        let server = try await SASLTestPeer.server(AMQPServerSASL { _, _ in true })
        try await server.deliver(ProtocolHeader.saslBytes)
        try await server.deliver(.initialise(mechanism: "PLAIN", response: [0, 0xff, 0, 0x41], hostname: nil))
        #expect(server.state.errors.map(\.condition) == [.unauthorizedAccess])
    }

    @Test func aMechanismThatWasNotOfferedIsRefused() async throws {
        let server = try await SASLTestPeer.server(Self.checking)
        try await server.deliver(ProtocolHeader.saslBytes)
        _ = try await server.sent()
        try await server.deliver(.initialise(mechanism: "ANONYMOUS", response: [], hostname: nil))
        #expect(try await server.sentFrames() == [.outcome(.auth, additionalData: nil)])
        #expect(server.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(server.state.identity == nil)
    }

    @Test func externalMayNotActAsAnother() async throws {
        var security = SASLTestPeer.encrypted
        security.hasPeerCertificate = true
        security.peerCertificateName = "ann"
        for (wish, isLetIn) in [("", true), ("ann", true), ("bob", false)] {
            let server = try await SASLTestPeer.server(.anonymous, security: security)
            try await server.deliver(ProtocolHeader.saslBytes)
            try await server.deliver(
                .initialise(mechanism: "EXTERNAL", response: Array(wish.utf8), hostname: nil)
            )
            #expect((server.state.identity?.username == "ann") == isLetIn)
            #expect(server.state.errors.isEmpty == isLetIn)
        }
    }

    @Test func framesOutOfOrder() async throws {
        let wrong: [SASLFrame] = [
            .mechanisms(["PLAIN"]), .challenge([]), .response([]), .outcome(.ok, additionalData: nil),
        ]
        for frame in wrong {
            let server = try await SASLTestPeer.server(.anonymous)
            try await server.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([frame]))
            #expect(server.state.errors.map(\.condition) == [.illegalState])
            #expect(server.state.identity == nil && !server.channel.isActive)
        }
        let initialise = SASLFrame.initialise(mechanism: "PLAIN", response: nil, hostname: nil)
        let server = try await SASLTestPeer.server(Self.checking)
        try await server.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([initialise, initialise]))
        #expect(server.state.errors.map(\.condition) == [.illegalState])
    }

    @Test func endOfInputBeforeTheHeader() async throws {
        let server = try await SASLTestPeer.server(.anonymous)
        try await server.deliver(Array("AMQ".utf8))
        #expect(server.state.events.isEmpty)
        try await server.endOfInput()
        #expect(server.state.events == ["error", "inactive"])
        #expect(server.state.errors.map(\.condition) == [.connectionLost])
    }
}
