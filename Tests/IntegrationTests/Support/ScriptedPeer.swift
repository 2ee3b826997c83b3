// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import NIOSSL
import QpidProton
import Synchronization
import TestSupport

/// A server that speaks AMQP frames by hand: it answers like a peer, or does what no good peer does.
///
/// A sender gets credit for 1,000 messages, but for none when its target is `no-credit`. A receiver gets two messages
/// when its source is `two-messages`.
final class ScriptedPeer: Sendable {
    /// What it does about a frame.
    enum Reaction: Sendable {
        /// What a peer does.
        case answer
        /// Nothing.
        case ignore
        /// Closes the connection, with an error or without; what is not open yet is opened first.
        case close(AMQPError?)
        /// Ends the session, which is begun first.
        case end(AMQPError?)
        /// Closes the link, which is attached first.
        case detach(AMQPError?)
        /// Closes the socket.
        case drop
    }

    /// What it does until the connection is opened.
    struct Login: Sendable {
        /// Whether the client's SASL header and its init are answered.
        var answersHeader = true
        var answersInit = true
        var mechanisms: [AMQPSymbol] = ["ANONYMOUS", "PLAIN"]
        /// The code of the outcome; 0 lets the client in.
        var code: UInt8 = 0
        /// Sent in place of the answer to the client's first bytes; the socket is then closed.
        var greeting: [UInt8]?
        /// Changes what is written; the number counts the headers and frames of a connection, from 1.
        var damage: @Sendable (_ bytes: [UInt8], _ number: Int) -> [UInt8] = { bytes, _ in bytes }
    }

    /// Decides about a frame; the number counts the frames of its kind on the connection, from 1.
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
    /// The connections that were made.
    var connections: Int { self.state.withLock { $0.channels.count } }

    /// How many frames of a kind have come, on all connections.
    func count(_ performative: Frame.Code) -> Int { self.state.withLock { $0.counts[performative] ?? 0 } }

    /// Does something without being asked, on every connection.
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
