// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import QpidProton
import TestSupport
import Testing

/// Peers over sockets that are silent, slow or break TLS. The listener closes their connections in time, and accepts
/// the next client.
@Suite(.timeLimit(.minutes(2)))
struct HostileSocketTests {
    /// The stage at which a client falls silent.
    enum Silence: CaseIterable, Sendable {
        case atOnce, inTheHeader, behindTheSASLHeader, behindTheLogin, behindTheHeader, inTheOpen

        func bytes() throws -> [UInt8] {
            let initialise = try Frame(.initialise, [.symbol("ANONYMOUS")]).bytes()
            switch self {
            case .atOnce: return []
            case .inTheHeader: return Array(FrameBytes.saslHeader.prefix(5))
            case .behindTheSASLHeader: return FrameBytes.saslHeader
            case .behindTheLogin: return FrameBytes.saslHeader + initialise
            case .behindTheHeader: return FrameBytes.saslHeader + initialise + FrameBytes.header
            case .inTheOpen:
                let open = try Frame(.open, ["silent"]).bytes()
                return FrameBytes.saslHeader + initialise + FrameBytes.header + open.dropLast()
            }
        }
    }

    private static func impatient() -> AMQPListener.Configuration {
        var configuration = AMQPListener.Configuration()
        configuration.connection.openTimeout = .milliseconds(300)
        return configuration
    }

    /// Expects that the next client can send a message.
    private func expectService(_ listener: TestListener, _ tls: AMQPTLS? = nil) async throws {
        var configuration = AMQPConnection.Configuration()
        if let tls { configuration.tls = tls }
        let url = tls == nil ? listener.url : listener.tlsURL
        try await AMQPConnection.withConnection(to: url, configuration: configuration) { connection in
            let sender = try await connection.openSession().openSender(to: "queue")
            #expect(try await sender.send(AMQPMessage(body: "well-formed")) == .accepted)
        }
    }

    // MARK: Silence

    @Test(arguments: Silence.allCases)
    func aSilentClientLosesItsSocket(_ silence: Silence) async throws {
        var configuration = Self.impatient()
        // The listener also ends a close that the peer does not answer.
        configuration.connection.operationTimeout = .milliseconds(300)
        try await TestListener.with(configuration) { listener in
            // The call returns when the listener has closed the socket.
            _ = try await exchange(try silence.bytes(), with: listener.listener.port) { _ in false }
            #expect(listener.connections.isEmpty)
        }
        try await TestListener.with { try await self.expectService($0) }
    }

    @Test func aClientIsAcceptedBesideManySilentOnes() async throws {
        var configuration = Self.impatient()
        configuration.connection.openTimeout = .seconds(2)
        try await TestListener.with(configuration) { listener in
            let sockets = try (0..<200).map { _ in try RawSocket(connectingTo: listener.listener.port) }
            try await self.expectService(listener)
            #expect(listener.connections.count == 1 && sockets.count == 200)
        }
    }

    @Test func aSilentClientOfATLSPortLosesItsSocket() async throws {
        let files = try TestCertificates.files()
        var configuration = Self.impatient()
        configuration.tls = AMQPServerTLS(identity: files.server)
        try await TestListener.with(configuration) { listener in
            // The client sends nothing, or the head of a record that never arrives.
            for bytes in [[], [0x16, 3, 1, 0x40, 0]] as [[UInt8]] {
                _ = try await exchange(bytes, with: listener.listener.port) { _ in false }
            }
            #expect(listener.connections.isEmpty)
        }
    }

    // MARK: Slowness

    /// Each byte arrives far within the limit, but the limit applies to all bytes together.
    @Test func aClientThatSendsByteByByteLosesItsSocket() async throws {
        try await TestListener.with(Self.impatient()) { listener in
            let bytes = try Silence.inTheOpen.bytes() + Array(repeating: 0, count: 1_000)
            let port = listener.listener.port
            let sent = try await within("the listener's close") { try await Trickle.send(bytes, to: port) }
            #expect(sent < bytes.count)
            #expect(listener.connections.isEmpty)
        }
    }

    @Test func aServerThatAnswersByteByByteIsATimeout() async throws {
        try await Trickle.serve(Array(repeating: 0x41, count: 0) + FrameBytes.saslHeader + (try Self.mechanisms())) {
            port in
            let error = try await connectFailure("amqp://127.0.0.1:\(port)") { $0.openTimeout = .milliseconds(300) }
            #expect(error.condition == .timeout && error.detail.contains("did not open the connection"), "\(error)")
        }
    }

    /// The server sends endless challenges, each in time. One limit applies to all of them together.
    @Test func anEndlessLoginIsATimeout() async throws {
        let challenge = try Frame(.challenge, [.binary(ByteBuffer(string: "and?"))]).bytes()
        let greeting = FrameBytes.saslHeader + (try Self.mechanisms())
        let dialogue = greeting + Array(repeating: challenge, count: 100).joined()
        try await Trickle.serve(dialogue, piece: challenge.count) { port in
            let error = try await connectFailure("amqp://user:password@127.0.0.1:\(port)") {
                $0.openTimeout = .milliseconds(400)
            }
            #expect([.timeout, .illegalState, .unauthorizedAccess].contains(error.condition), "\(error)")
            #expect(!"\(error)".contains("password"))
        }
    }

    private static func mechanisms() throws -> [UInt8] {
        try Frame(.mechanisms, [.array(AMQPArray(symbols: ["PLAIN", "ANONYMOUS"]))]).bytes()
    }

    // MARK: TLS

    /// The peer sends a fatal alert in place of the handshake: handshake_failure or protocol_version.
    @Test(arguments: [UInt8(40), 70, 0])
    func alertInPlaceOfTheHandshake(_ alert: UInt8) async throws {
        var login = ScriptedPeer.Login()
        login.greeting = [0x15, 3, 3, 0, 2, alert == 0 ? 1 : 2, alert]
        try await ScriptedPeer.with(login: login) { _, url in
            let port = url.split(separator: ":").last ?? ""
            let error = try await connectFailure("amqps://127.0.0.1:\(port)")
            #expect(error.scope == .connection && error.condition == .tlsFailed, "\(error)")
        }
    }

    /// A TLS port receives alerts, invalid records and plain AMQP. The listener closes the socket, and accepts the next
    /// client.
    @Test func brokenTLSOnAListener() async throws {
        let files = try TestCertificates.files()
        var configuration = AMQPListener.Configuration()
        configuration.tls = AMQPServerTLS(identity: files.server)
        try await TestListener.with(configuration) { listener in
            let cases: [[UInt8]] = [
                [0x15, 3, 3, 0, 2, 2, 40], [0x15, 3, 3, 0, 2, 1, 0], [0x16, 3, 1, 0, 5, 1, 0xFF, 0xFF, 0xFF, 0],
                [0x17, 3, 3, 0xFF, 0xFF], FrameBytes.header, FrameBytes.saslHeader,
                Array("GET / HTTP/1.1\r\n\r\n".utf8),
            ]
            for bytes in cases {
                let answer = try await exchange(bytes, with: listener.listener.port) { _ in false }
                // A TLS port sends no AMQP without encryption.
                #expect(!answer.contains(Array("AMQP".utf8)), "\(bytes) \(answer)")
            }
            #expect(listener.connections.isEmpty)
            try await self.expectService(listener, AMQPTLS(trustRoots: files.authority))
        }
    }
}

/// Sends bytes piece by piece, with 20 ms between them.
private enum Trickle {
    private static let pause = Duration.milliseconds(20)

    /// Returns how many bytes were sent before the peer closed the socket.
    static func send(_ bytes: [UInt8], to port: Int) async throws -> Int {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port).get()
        defer { channel.close(promise: nil) }
        return await self.write(bytes, to: channel, piece: 1)
    }

    /// Runs `body` with the port of a server that sends these bytes to each client, regardless of its input.
    static func serve(_ bytes: [UInt8], piece: Int = 1, _ body: (Int) async throws -> Void) async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                Task { await self.write(bytes, to: channel, piece: piece) }
                return channel.eventLoop.makeSucceededVoidFuture()
            }
            .bind(host: "127.0.0.1", port: 0).get()
        defer { server.close(promise: nil) }
        try await body(server.localAddress?.port ?? 0)
    }

    @discardableResult
    private static func write(_ bytes: [UInt8], to channel: any Channel, piece: Int) async -> Int {
        var sent = 0
        while sent < bytes.count {
            let end = min(bytes.count, sent + piece)
            do {
                try await Task.sleep(for: self.pause)
                try await channel.writeAndFlush(ByteBuffer(bytes: bytes[sent..<end]))
            } catch {
                return sent
            }
            sent = end
        }
        return sent
    }
}
