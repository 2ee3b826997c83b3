// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Synchronization
import TestSupport

/// A TCP connection without a protocol. It records the received bytes and the way it ended.
final class ByteSocket: Sendable {
    /// The way in which the peer's bytes ended.
    enum End: Hashable, Sendable {
        case end, reset
    }

    private struct State {
        var bytes: [UInt8] = []
        var end: End?
        var isClosed = false
    }

    private let state = Mutex(State())
    private let channel: any Channel

    private init(_ channel: any Channel) {
        self.channel = channel
        // `isActive` would also be false for an accepted channel that is not active yet.
        channel.closeFuture.whenComplete { _ in self.state.withLock { $0.isClosed = true } }
    }

    /// The received bytes.
    var bytes: [UInt8] { self.state.withLock { $0.bytes } }
    /// The end of the peer's bytes; `nil` until they end.
    var end: End? { self.state.withLock { $0.end } }
    var isClosed: Bool { self.state.withLock { $0.isClosed } }

    static func connect(to port: Int) async throws -> ByteSocket {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: false)
            .connect(host: "127.0.0.1", port: port).get()
        let socket = ByteSocket(channel)
        try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(ByteSocketHandler(socket, echoes: false))
        }.get()
        try await channel.setOption(.autoRead, value: true).get()
        return socket
    }

    /// Sends bytes, and suspends until the kernel has accepted them or the socket is closed.
    func send(_ bytes: [UInt8]) async { try? await self.channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    /// Ends the output of this side.
    func finish() async { try? await self.channel.close(mode: .output) }

    func close() { self.channel.close(promise: nil) }

    /// Waits for the peer's end, and returns it.
    func waitForEnd() async throws -> End? {
        try await waitUntil("the peer ends") { self.end != nil }
        return self.end
    }

    fileprivate func note(_ bytes: ByteBuffer) { self.state.withLock { $0.bytes += bytes.readableBytesView } }
    fileprivate func note(_ end: End) { self.state.withLock { $0.end = $0.end ?? end } }
}

extension ByteSocket {
    /// Runs `body` with the port and the sockets of a server that returns every received byte.
    static func withEchoServer(_ body: (Int, @Sendable () -> [ByteSocket]) async throws -> Void) async throws {
        let sockets = Sockets()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let socket = ByteSocket(channel)
                    sockets.list.withLock { $0.append(socket) }
                    try channel.pipeline.syncOperations.addHandler(ByteSocketHandler(socket, echoes: true))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        defer {
            channel.close(promise: nil)
            for socket in sockets.list.withLock({ $0 }) { socket.close() }
        }
        try await body(channel.localAddress?.port ?? 0) { sockets.list.withLock { $0 } }
    }

    private final class Sockets: Sendable {
        let list = Mutex<[ByteSocket]>([])
    }
}

private final class ByteSocketHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let socket: ByteSocket
    private let echoes: Bool

    init(_ socket: ByteSocket, echoes: Bool) {
        self.socket = socket
        self.echoes = echoes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        self.socket.note(bytes)
        if self.echoes { context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        self.socket.note(.end)
        if self.echoes { context.close(mode: .output, promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { self.socket.note(.end) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? IOError, error.errnoCode == 104 { self.socket.note(.reset) }
        context.close(promise: nil)
    }
}
