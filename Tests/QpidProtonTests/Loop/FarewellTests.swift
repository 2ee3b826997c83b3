// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import QpidProton

/// The answer to a peer whose first bytes contain an error: the AMQP header, an `open`, and a `close` with the cause.
///
/// Source: AMQP 1.0 §2.2, §2.4.1.
@Suite(.deadline(minutes: 2))
struct FarewellTests {
    /// The pipeline of one connection, with or without a SASL layer.
    private struct Line {
        let channel: NIOAsyncTestingChannel
        let ended: EndReply
        let sasl: Bool
        let role: ConnectionHandler.Role

        init(_ role: ConnectionHandler.Role, sasl: Bool) async throws {
            let loop = NIOAsyncTestingEventLoop()
            // Proton treats a time of 0 as "never".
            await loop.advanceTime(by: .seconds(1))
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            var configuration = AMQPConnection.Configuration()
            configuration.acceptsIncoming = role == .server
            let ended = NIOLoopBoundBox<EndReply?>.makeEmptyBox(valueType: EndReply.self, eventLoop: loop)
            self.channel = try await NIOAsyncTestingChannel(loop: loop) { [configuration] channel in
                let handler = try ConnectionHandler(
                    role: role,
                    configuration: configuration,
                    eventLoop: channel.eventLoop,
                    logger: logger
                )
                ended.value = handler.ended
                let pipeline = channel.pipeline.syncOperations
                if sasl { try pipeline.addHandler(Self.saslHandler(role, logger)) }
                try pipeline.addHandler(handler)
            }
            self.ended = try #require(try await loop.perform { ended.value })
            self.sasl = sasl
            self.role = role
            try await self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/in-memory")).get()
        }

        private static func saslHandler(_ role: ConnectionHandler.Role, _ logger: Logger) -> any ChannelHandler {
            switch role {
            case .client:
                let machine = SASLClientMachine(
                    candidates: [SASLAnonymous()],
                    hostname: nil,
                    allowsPlainWithoutTLS: false
                )
                return SASLClientHandler(machine: machine, maxFrameSize: 65_536, logger: logger)
            case .server:
                let machine = SASLServerMachine(configuration: .anonymous)
                return SASLServerHandler(machine: machine, maxFrameSize: 65_536, logger: logger)
            }
        }

        /// The bytes of the peer's own SASL layer. The peer does not wait for the answers.
        private var greeting: [UInt8] {
            guard self.sasl else { return [] }
            let frames: [SASLFrame] =
                self.role == .client
                ? [.mechanisms(["ANONYMOUS"]), .outcome(.ok, additionalData: nil)]
                : [.initialise(mechanism: "ANONYMOUS", response: [], hostname: nil)]
            return ProtocolHeader.saslBytes + SASLTestPeer.bytes(frames)
        }

        /// Passes bytes to the library in pieces. Returns everything that it has written, without its SASL layer.
        func answer(to bytes: [UInt8], pieces: Pieces) async throws -> [UInt8] {
            var rest = (self.greeting + bytes)[...]
            while !rest.isEmpty, self.channel.isActive {
                let count = min(pieces.rawValue, rest.count)
                try await self.channel.writeInbound(ByteBuffer(bytes: rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            var written: [UInt8] = []
            while let buffer = try await self.channel.readOutbound(as: ByteBuffer.self) {
                written += buffer.readableBytesView
            }
            return self.sasl ? Self.withoutSASL(written) : written
        }

        private static func withoutSASL(_ bytes: [UInt8]) -> [UInt8] {
            #expect(bytes.starts(with: ProtocolHeader.saslBytes))
            var rest = bytes.dropFirst(8)
            while let first = rest.first, first == 0 {
                rest = rest.dropFirst(rest.prefix(4).reduce(0) { $0 << 8 | Int($1) })
            }
            return Array(rest)
        }

        func finish() async {
            _ = try? await self.channel.finish(acceptAlreadyClosed: true)
        }
    }

    enum Pieces: Int, CaseIterable {
        case one = 1_000_000
        case sevenBytes = 7
        case bytes = 1
    }

    static let header: [UInt8] = HeaderCheck.expected

    /// Errors of a peer that has opened the connection.
    static let behindTheOpen: [HostileBytes] = [
        HostileBytes("a second open", [.open()], .illegalState, "twice"),
        HostileBytes("a frame of 0 bytes", [0, 0, 0, 0, 2, 0, 0, 0], .connectionFramingError, "a frame of 0 bytes"),
        HostileBytes("too large a frame", [0, 2, 0, 0, 2, 0, 0, 0], .connectionFramingError, "131072 bytes"),
        HostileBytes(
            "an unknown performative",
            [0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x30, 0x45],
            .connectionFramingError,
            "no performative"
        ),
        HostileBytes(
            "a begin that cannot be read",
            [0, 0, 0, 14, 2, 0, 0, 0, 0, 0x53, 0x11, 0xC0, 200, 4],
            .decodeError,
            "(begin)"
        ),
        HostileBytes("text", Array("GET / HTTP/1.1\r\n\r\n".utf8), .connectionFramingError, "bytes: 8 to"),
        HostileBytes(
            "a transfer on an unknown channel",
            [.transfer(handle: 0, id: 0, tag: [1], channel: 9)],
            .notAllowed,
            "no such channel: 9"
        ),
        HostileBytes("an end of no session", [Frame(.end, channel: 9, [])], .notAllowed, "no such channel: 9"),
        HostileBytes(
            "a session begun twice",
            [.begin(channel: 3), .begin(channel: 3)],
            .illegalState,
            "begun already"
        ),
        HostileBytes("too high a channel", [.begin(channel: 40_000)], .connectionFramingError, "channel 40000"),
        HostileBytes("the answer to no begin", [.begin(answering: 5)], .invalidField, "unknown channel 5"),
    ]

    /// Errors of a peer that has sent only its header.
    static let inPlaceOfTheOpen: [HostileBytes] = [
        HostileBytes("a begin", [.begin()], .illegalState, "before it opened"),
        HostileBytes("an attach", [.attach("x", handle: 0, isReceiver: true)], .illegalState, "before it opened"),
        HostileBytes("a transfer", [.transfer(handle: 0, id: 0, tag: [1])], .illegalState, "before it opened"),
        HostileBytes("a flow", [.flow()], .illegalState, "before it opened"),
        HostileBytes("a disposition", [.disposition(0)], .illegalState, "before it opened"),
        HostileBytes("a detach", [.detach(0)], .illegalState, "before it opened"),
        HostileBytes("an end", [Frame(.end, [])], .illegalState, "before it opened"),
        HostileBytes("text", Array("GET / HTTP/1.1\r\n\r\n".utf8), .connectionFramingError, "bytes: 8 to"),
        HostileBytes("a frame of 0 bytes", [0, 0, 0, 0, 2, 0, 0, 0], .connectionFramingError, "a frame of 0 bytes"),
        HostileBytes(
            "an open that cannot be read",
            [0, 0, 0, 14, 2, 0, 0, 0, 0, 0x53, 0x10, 0xC0, 200, 4],
            .decodeError,
            "(open)"
        ),
    ]

    private func expectFarewell(_ bytes: [UInt8], _ error: HostileBytes, _ role: ConnectionHandler.Role) async throws {
        for (sasl, pieces) in Pieces.allCases.flatMap({ pieces in [(false, pieces), (true, pieces)] }) {
            let comment = Comment("\(error.testDescription), \(role), SASL: \(sasl), pieces: \(pieces)")
            let line = try await Line(role, sasl: sasl)
            let written = try await line.answer(to: Self.header + bytes + error.bytes, pieces: pieces)
            #expect(written.starts(with: Self.header), comment)
            let frames = Frame.parse(ByteBuffer(bytes: written))
            #expect(frames.first?.code == .open, comment)
            #expect(frames.first?.field(0).stringValue?.isEmpty == false, comment)
            #expect(frames.count { $0.code == .open } == 1, comment)
            #expect(frames.count { $0.code == .close } == 1, comment)
            #expect(frames.last?.code == .close, comment)
            if case .described(let reason)? = frames.last?.field(0), let fields = reason.value.listValue {
                #expect(fields.first == .symbol(AMQPSymbol(error.condition.rawValue)), comment)
                #expect(fields.dropFirst().first?.stringValue?.contains(error.text) == true, comment)
            } else {
                Issue.record("a close without a cause: \(comment)")
            }
            #expect(!line.channel.isActive, comment)
            await expectError(error.condition) { try await line.ended.value() }
            await line.finish()
        }
    }

    @Test(arguments: bothRoles, Self.behindTheOpen)
    func headerOpenAndCloseAnswerAnErrorAfterTheOpen(role: ConnectionHandler.Role, error: HostileBytes) async throws {
        let open = try Array(Frame.open().encoded().readableBytesView)
        try await self.expectFarewell(open, error, role)
    }

    @Test(arguments: bothRoles, Self.inPlaceOfTheOpen)
    func headerOpenAndCloseAnswerAnErrorInPlaceOfTheOpen(role: ConnectionHandler.Role, error: HostileBytes) async throws
    {
        try await self.expectFarewell([], error, role)
    }

    @Test(arguments: bothRoles)
    func anUnacceptableOpenIsAnsweredLikewise(role: ConnectionHandler.Role) async throws {
        let open = Frame(.open, [.string("x"), .null, .uint(65_536), .ushort(9), .uint(1)])
        try await self.expectFarewell([], HostileBytes("1 ms", [open], .invalidField, "idle-time-out of 1 ms"), role)
    }

    static let otherHeaders: [[UInt8]] = [
        Array("GET / HTTP/1.1\r\n\r\n".utf8),
        [0x41, 0x4D, 0x51, 0x50, 0, 0, 9, 1],
        [0x41, 0x4D, 0x51, 0x50, 3, 1, 0, 0],
        [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 1],
        [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01],
    ]

    /// The correct header is a server's whole answer. A client has already sent its header and its `open`.
    @Test(arguments: bothRoles, [false, true])
    func theCorrectHeaderAnswersAWrongOne(role: ConnectionHandler.Role, sasl: Bool) async throws {
        for (bytes, pieces) in Self.otherHeaders.flatMap({ bytes in Pieces.allCases.map { (bytes, $0) } }) {
            let line = try await Line(role, sasl: sasl)
            let written = try await line.answer(to: bytes, pieces: pieces)
            #expect(written.starts(with: Self.header), "\(bytes), \(pieces)")
            let frames = Frame.parse(ByteBuffer(bytes: written))
            #expect(frames.map(\.code) == (role == .client ? [.open] : []), "\(bytes), \(pieces)")
            #expect(!line.channel.isActive)
            await expectError(.connectionFramingError) { try await line.ended.value() }
            await line.finish()
        }
    }

    /// An error in the same turn does not discard the application's own close.
    @Test(arguments: bothRoles)
    func theApplicationsClosePrecedesAnError(role: ConnectionHandler.Role) async throws {
        try await withAdversary(role) { _, adversary in
            var bytes = ByteBuffer()
            for frame in [Frame.open(), .begin(channel: 77)] { bytes.writeImmutableBuffer(try frame.encoded()) }
            try await adversary.peer.run { [bytes] peer in
                peer.handler.close(AMQPError(scope: .connection, condition: "x:bye", detail: "going home"))
                peer.inject(bytes)
            }
            #expect(try await adversary.frames(.close).count == 1)
            #expect(try await adversary.error(in: .close)?.condition == "x:bye")
        }
    }

    /// Frames before the error take effect, wherever the bytes are cut.
    @Test func messagesBeforeAnErrorAreReceived() async throws {
        try await withReceivers(.server) { receivers, connection, adversary in
            try await adversary.send(.transfer(handle: 0, id: 0, tag: [1], settled: true, payload: payload(5)), .open())
            #expect(try await receivers[0].next()?.payload == payload(5))
            try await adversary.expectClose(.illegalState, "twice", connection)
        }
    }
}
