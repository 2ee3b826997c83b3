// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import QpidProton

/// The client against handwritten bytes.
@Suite struct SASLClientTests {
    static let plain = SASLPlainClient(username: "ann", password: Redacted("s3cret"))

    /// Returns the peer of a client that has sent its sasl-init.
    static func waitingForOutcome(maxFrameSize: Int = 65_536) async throws -> SASLTestPeer {
        let client = try await SASLTestPeer.client([Self.plain], maxFrameSize: maxFrameSize)
        try await client.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([.mechanisms(["PLAIN"])]))
        return client
    }

    @Test func sendsItsHeaderFirstAndNothingElse() async throws {
        let client = try await SASLTestPeer.client([Self.plain])
        #expect(try await client.sent() == [0x41, 0x4d, 0x51, 0x50, 3, 1, 0, 0])
        #expect(client.state.events.isEmpty)
    }

    @Test func plainInitHasTheBytesOfTheSpecification() async throws {
        let client = try await Self.waitingForOutcome()
        let frames = try await client.sentFrames(header: true)
        #expect(
            frames == [
                .initialise(mechanism: "PLAIN", response: Array("\0ann\0s3cret".utf8), hostname: "example.com")
            ]
        )
    }

    @Test func bytesAfterTheOutcomeReachTheNextHandler() async throws {
        let client = try await Self.waitingForOutcome()
        let next = Array("AMQP".utf8) + [0, 1, 0, 0, 9, 9]
        try await client.deliver(SASLTestPeer.bytes([.outcome(.ok, additionalData: nil)]) + next)
        #expect(client.state.events == ["completed", "active", "read", "readComplete"])
        #expect(client.state.bytes == next)
    }

    @Test func writesPassOnceTheLayerIsDoneAndFailBefore() async throws {
        let client = try await Self.waitingForOutcome()
        _ = try await client.sent()
        await #expect(throws: AMQPError.self) { try await client.channel.writeOutbound(ByteBuffer(bytes: [1])) }
        try await client.deliver(.outcome(.ok, additionalData: nil))
        try await client.channel.writeOutbound(ByteBuffer(bytes: [2]))
        #expect(try await client.sent() == [2])
    }

    @Test(arguments: [
        (SASLCode.auth, AMQPCondition.unauthorizedAccess, "auth"),
        (.sys, .internalError, "sys"),
        (.sysPerm, .internalError, "sys-perm"),
        (.sysTemp, .internalError, "sys-temp"),
    ])
    func outcomes(code: SASLCode, condition: AMQPCondition, name: String) async throws {
        let client = try await Self.waitingForOutcome()
        try await client.deliver(.outcome(code, additionalData: nil))
        let error = try #require(client.state.errors.first)
        #expect(client.state.errors.count == 1)
        #expect(error.scope == .connection && error.condition == condition && error.origin == .peer)
        #expect(error.detail.contains("(\(name))") || error.detail.contains("(\(name)):"))
        #expect(!client.channel.isActive)
        #expect(client.state.events.filter { $0 == "active" }.isEmpty)
    }

    @Test func plainIsRefusedWithoutTLSBeforeAnyByte() async throws {
        let client = try await SASLTestPeer.client([Self.plain], security: SASLTestPeer.remote)
        #expect(try await client.sent().isEmpty)
        let error = try #require(client.state.errors.first)
        #expect(error.condition == .invalidArgument)
        #expect(error.detail.contains("amqps") && error.detail.contains("allowsPlainWithoutTLS"))
        #expect(!error.detail.contains("s3cret"))
        #expect(!client.channel.isActive)
    }

    @Test func plainWithoutTLSIsSentWhereItIsAllowed() async throws {
        for (security, allows) in [
            (SASLTestPeer.remote, true), (SASLTestPeer.encrypted, false), (SASLTestPeer.local, false),
        ] {
            let client = try await SASLTestPeer.client(
                [Self.plain],
                security: security,
                allowsPlainWithoutTLS: allows
            )
            try await client.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([.mechanisms(["PLAIN"])]))
            #expect(try await client.sentFrames(header: true).count == 1)
        }
    }

    static let protocols: [([UInt8], String)] = [
        (header(0, 1, 0, 0), "without a SASL layer"), (header(0, 0, 9, 1), "0-9-1"),
        (header(1, 1, 0, 10), "0-9-1 or older"), (header(3, 2, 0, 0), "version 2.0.0"),
        (header(2, 1, 0, 0), "TLS inside AMQP"), (Array("HTTP/1.1 400 Bad Request".utf8), "HTTP"),
        ([0x15, 3, 3, 0, 2, 2, 70], "speaks TLS on this port: use amqps://"),
        ([0x16, 3, 3, 0, 2, 2, 70], "speaks TLS on this port: use amqps://"),
        (Array("SSH-2.0".utf8), "an unknown protocol"),
        ([0], "an unknown protocol"), (Array("AMQX".utf8), "an unknown protocol"),
    ]

    static func header(_ bytes: UInt8...) -> [UInt8] { Array("AMQP".utf8) + bytes }

    @Test(arguments: Self.protocols)
    func otherProtocols(bytes: [UInt8], text: String) async throws {
        let client = try await SASLTestPeer.client([SASLAnonymous()])
        try await client.deliver(bytes)
        #expect(client.state.errors.map(\.condition) == [.connectionFramingError])
        #expect(client.state.errors.first?.detail.contains(text) == true, "\(client.state.errors)")
        #expect(!client.channel.isActive)
    }

    @Test(arguments: [
        (plain as any SASLClientMechanism, ["ANONYMOUS"], "leave out the user and the password"),
        (SASLAnonymous(), ["PLAIN", "SCRAM-SHA-256"], "give a user and a password"),
        (plain, ["GSSAPI"], "change the login here, or the server's mechanisms"),
    ])
    func theErrorWithoutACommonMechanismNamesTheRemedy(
        mechanism: any SASLClientMechanism,
        offered: [String],
        remedy: String
    ) async throws {
        let client = try await SASLTestPeer.client([mechanism])
        try await client.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([.mechanisms(offered)]))
        #expect(client.state.errors.map(\.condition) == [.unauthorizedAccess])
        #expect(client.state.errors.first?.detail.hasSuffix(": \(remedy)") == true, "\(client.state.errors)")
    }

    @Test func framesOutOfOrder() async throws {
        let early: [SASLFrame] = [
            .outcome(.ok, additionalData: nil), .challenge([1]), .response([1]),
            .initialise(mechanism: "PLAIN", response: nil, hostname: nil),
        ]
        for frame in early {
            let client = try await SASLTestPeer.client([Self.plain])
            try await client.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([frame]))
            #expect(client.state.errors.map(\.condition) == [.illegalState])
            #expect(client.state.identity == nil && !client.channel.isActive)
        }
        for frame: SASLFrame in [.mechanisms(["PLAIN"]), .response([1])] {
            let client = try await Self.waitingForOutcome()
            try await client.deliver(frame)
            #expect(client.state.errors.map(\.condition) == [.illegalState])
        }
        // PLAIN has no challenge, so the client must not respond to one.
        let client = try await Self.waitingForOutcome()
        _ = try await client.sent()
        try await client.deliver(.challenge([]))
        #expect(client.state.errors.map(\.condition) == [.illegalState])
        #expect(try await client.sent().isEmpty)
    }

    @Test func endlessChallenges() async throws {
        struct Chatty: SASLClientMechanism {
            let name = "CHATTY"
            func initialResponse() -> [UInt8]? { nil }
            func response(to challenge: [UInt8]) -> [UInt8] { challenge }
        }
        let client = try await SASLTestPeer.client([Chatty()])
        try await client.deliver(ProtocolHeader.saslBytes + SASLTestPeer.bytes([.mechanisms(["CHATTY"])]))
        for _ in 0..<maxSASLSteps { try await client.deliver(.challenge([7])) }
        #expect(client.state.errors.isEmpty)
        #expect(try await client.sentFrames(header: true).dropFirst().allSatisfy { $0 == .response([7]) })
        try await client.deliver(.challenge([7]))
        #expect(client.state.errors.map(\.condition) == [.illegalState])
    }

    @Test func endOfInputAtEveryStep() async throws {
        let steps = [[], ProtocolHeader.saslBytes, SASLTestPeer.bytes([.mechanisms(["PLAIN"])]), [0, 0]]
        for count in 0...steps.count {
            let client = try await SASLTestPeer.client([Self.plain])
            for step in steps.prefix(count) where !step.isEmpty { try await client.deliver(step) }
            try await client.endOfInput()
            #expect(client.state.events == ["error", "inactive"])
            #expect(client.state.errors.map(\.condition) == [.connectionLost])
        }
    }

    @Test func aHalfClosedConnectionIsAnEndToo() async throws {
        let client = try await Self.waitingForOutcome()
        try await client.channel.testingEventLoop.perform {
            client.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
        #expect(client.state.errors.map(\.condition) == [.connectionLost])
        #expect(!client.channel.isActive)
    }

    @Test func aCloseOfThisSideIsNoError() async throws {
        let client = try await Self.waitingForOutcome()
        try await client.channel.close().get()
        #expect(client.state.events == ["inactive"])
    }

    @Test func anErrorFromBelowIsTheOnlyOne() async throws {
        let client = try await Self.waitingForOutcome()
        let lower = AMQPError(scope: .connection, condition: .tlsFailed, detail: "from below")
        try await client.channel.testingEventLoop.perform {
            client.channel.pipeline.fireErrorCaught(lower)
        }
        try await client.endOfInput()
        #expect(client.state.errors == [lower])
        #expect(client.state.events == ["error", "inactive"])
    }

    @Test func addedToAnActiveChannelItStartsAtOnce() async throws {
        let recorder = SASLRecorder()
        let channel = NIOAsyncTestingChannel()
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5672)).get()
        try await channel.testingEventLoop.perform {
            let handler = try AMQPSASL.automatic.makeClientHandler(
                username: nil,
                password: nil,
                hasClientCertificate: false,
                hostname: nil,
                logger: LogLines().logger
            )
            try channel.pipeline.syncOperations.addHandlers([#require(handler), recorder])
        }
        #expect(try await channel.readOutbound(as: ByteBuffer.self) == ByteBuffer(bytes: ProtocolHeader.saslBytes))
        let answer: [SASLFrame] = [.mechanisms(["ANONYMOUS"]), .outcome(.ok, additionalData: nil)]
        try await channel.writeInbound(ByteBuffer(bytes: ProtocolHeader.saslBytes + SASLTestPeer.bytes(answer)))
        #expect(recorder.state.events == ["completed", "active", "readComplete"])
        _ = try await channel.finish()
    }
}
