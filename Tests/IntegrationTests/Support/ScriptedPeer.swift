// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import NIOSSL
import QpidProton
import Synchronization
import TestSupport

/// A server that writes its AMQP frames itself. It answers correctly, or breaks the protocol as a test requires.
///
/// It grants a sender credit for 1,000 messages, or none if the target is `no-credit`. It sends two messages to a
/// receiver whose source is `two-messages`.
final class ScriptedPeer: Sendable {
    /// The peer's reaction to a frame.
    enum Reaction: Sendable {
        /// Answers as the standard requires.
        case answer
        /// Does nothing.
        case ignore
        /// Closes the connection, with or without an error. An unopened connection is opened first.
        case close(AMQPError?)
        /// Begins the session, and ends it.
        case end(AMQPError?)
        /// Attaches the link, and closes it.
        case detach(AMQPError?)
        /// Closes the socket.
        case drop
    }

    /// The peer's behaviour until the connection is open.
    struct Login: Sendable {
        /// Whether the peer answers the client's SASL header. `answersInit` decides about the `sasl-init`.
        var answersHeader = true
        var answersInit = true
        var mechanisms: [AMQPSymbol] = ["ANONYMOUS", "PLAIN"]
        /// The code of the outcome; 0 admits the client.
        var code: UInt8 = 0
        /// The bytes that replace the answer to the client's first bytes. The peer then closes the socket.
        var greeting: [UInt8]?
        /// Changes written bytes. The number counts the headers and frames of a connection, from 1.
        var damage: @Sendable (_ bytes: [UInt8], _ number: Int) -> [UInt8] = { bytes, _ in bytes }
    }

    /// Decides about a frame. The number counts the frames of its kind on the connection, from 1.
    typealias React = @Sendable (Frame.Code, _ number: Int) -> Reaction

    private struct State {
        var channels: [any Channel] = []
        var counts: [Frame.Code: Int] = [:]
        var bytes: [UInt8] = []
    }

    let login: Login
    let react: React
    private let state = Mutex(State())

    private init(_ login: Login, _ react: @escaping React) {
        self.login = login
        self.react = react
    }

    /// The bytes that clients have sent.
    var received: [UInt8] { self.state.withLock { $0.bytes } }
    /// The number of connections so far.
    var connections: Int { self.state.withLock { $0.channels.count } }

    /// Returns the number of received frames of a kind, on all connections.
    func count(_ performative: Frame.Code) -> Int { self.state.withLock { $0.counts[performative] ?? 0 } }

    /// Performs a reaction on every connection, without a frame of the client.
    func act(_ reaction: Reaction) {
        for channel in self.state.withLock({ $0.channels }) { channel.pipeline.fireUserInboundEventTriggered(reaction) }
    }

    func note(_ channel: any Channel) { self.state.withLock { $0.channels.append(channel) } }
    func note(_ bytes: ByteBuffer) { self.state.withLock { $0.bytes += bytes.readableBytesView } }
    func note(_ performative: Frame.Code) { self.state.withLock { $0.counts[performative, default: 0] += 1 } }

    /// Runs `body` with a peer and its URL.
    @discardableResult
    static func with<Result>(
        host: String = "127.0.0.1",
        login: Login = Login(),
        tls: NIOSSLContext? = nil,
        react: @escaping React = { _, _ in .answer },
        _ body: (ScriptedPeer, String) async throws -> Result
    ) async throws -> Result {
        let peer = ScriptedPeer(login, react)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
                    try channel.pipeline.syncOperations.addHandler(ScriptedPeerHandler(peer))
                }
            }
            .bind(host: host, port: 0).get()
        defer {
            channel.close(promise: nil)
            for channel in peer.state.withLock({ $0.channels }) { channel.close(promise: nil) }
        }
        return try await body(peer, "\(tls == nil ? "amqp" : "amqps")://\(host):\(channel.localAddress?.port ?? 0)")
    }
}
