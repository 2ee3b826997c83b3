// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix

/// A TCP proxy on loopback that applies a ``FaultPlan`` to each direction of its connections.
///
/// The plans apply to later connections. A change also applies to open connections.
package final class FaultProxy: Sendable {
    /// The record of one direction of one connection.
    final class Record: Sendable {
        private let state = NIOLockedValueBox(FaultRecord())
        var value: FaultRecord { self.state.withLockedValue { $0 } }
        func change(_ body: (inout FaultRecord) -> Void) { self.state.withLockedValue { body(&$0) } }
    }

    /// A connection through the proxy.
    package struct Link: Sendable {
        fileprivate let records: [FaultDirection: Record]
        fileprivate let pipes: NIOLoopBound<[FaultDirection: FaultPipe]>
        fileprivate let loop: any EventLoop
        fileprivate let close: @Sendable () -> Void

        /// The record of a direction.
        package subscript(_ direction: FaultDirection) -> FaultRecord {
            self.records[direction]?.value ?? FaultRecord()
        }
    }

    private struct State {
        var plans: [FaultDirection: FaultPlan]
        package var links: [Link] = []
        var open = 0
    }

    private let state: NIOLockedValueBox<State>
    private let upstream: Int
    private let server = NIOLockedValueBox<(any Channel)?>(nil)

    private init(to upstream: Int, _ plans: [FaultDirection: FaultPlan]) {
        self.upstream = upstream
        self.state = NIOLockedValueBox(State(plans: plans))
    }

    package var port: Int { self.server.withLockedValue { $0?.localAddress?.port } ?? 0 }
    package var url: String { "amqp://127.0.0.1:\(self.port)" }
    /// All connections so far.
    package var links: [Link] { self.state.withLockedValue { $0.links } }
    /// The number of connections that are still open.
    package var openLinks: Int { self.state.withLockedValue { $0.open } }

    /// Runs `body` with a proxy for a port of loopback, and then closes all sockets.
    @discardableResult
    package static func with<Result>(
        to upstream: Int,
        toServer: FaultPlan = FaultPlan(),
        toClient: FaultPlan = FaultPlan(),
        on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        _ body: (FaultProxy) async throws -> Result
    ) async throws -> Result {
        let proxy = FaultProxy(to: upstream, [.toServer: toServer, .toClient: toClient])
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { proxy.accept($0) }
            .bind(host: "127.0.0.1", port: 0).get()
        proxy.server.withLockedValue { $0 = channel }
        defer {
            channel.close(promise: nil)
            for link in proxy.links { link.close() }
        }
        return try await body(proxy)
    }

    // MARK: By hand

    /// Changes the plan of a direction, for open and later connections.
    package func set(_ plan: FaultPlan, _ direction: FaultDirection) {
        let links = self.state.withLockedValue { state in
            state.plans[direction] = plan
            return state.links
        }
        for link in links { link.loop.execute { link.pipes.value[direction]?.change(plan) } }
    }

    /// Ends a direction of all open connections now.
    package func end(_ ending: FaultPlan.Ending, _ direction: FaultDirection) {
        for link in self.links { link.loop.execute { link.pipes.value[direction]?.end(ending) } }
    }

    // MARK: Connections

    private func accept(_ client: any Channel) -> EventLoopFuture<Void> {
        // Both sockets are on one loop, so no other thread uses their state.
        let (upstream, plans) = (self.upstream, self.state.withLockedValue { $0.plans })
        return ClientBootstrap(group: client.eventLoop)
            .channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: "127.0.0.1", port: upstream)
            .assumeIsolated().flatMapThrowing { server in try self.join(client, server, plans) }
            .nonisolated()
    }

    private func join(_ client: any Channel, _ server: any Channel, _ plans: [FaultDirection: FaultPlan]) throws {
        let records: [FaultDirection: Record] = [.toServer: Record(), .toClient: Record()]
        let plan = { (direction: FaultDirection) in plans[direction] ?? FaultPlan() }
        let record = { (direction: FaultDirection) in records[direction] ?? Record() }
        let toServer = FaultPipe(from: client, to: server, plan(.toServer), record(.toServer))
        let toClient = FaultPipe(from: server, to: client, plan(.toClient), record(.toClient))
        let close: @Sendable () -> Void = {
            client.close(promise: nil)
            server.close(promise: nil)
        }
        for (pipe, other) in [(toServer, toClient), (toClient, toServer)] {
            pipe.onCut = { isReset in
                if isReset { Self.resetOnClose(client, server) }
                close()
            }
            pipe.onEnd = { [unowned other] in if other.hasEnded { close() } }
        }
        try client.pipeline.syncOperations.addHandler(
            FaultHandler(toServer) {
                toServer.start()
                toClient.start()
            }
        )
        try server.pipeline.syncOperations.addHandler(FaultHandler(toClient) {})
        let pipes = NIOLoopBound([FaultDirection.toServer: toServer, .toClient: toClient], eventLoop: client.eventLoop)
        let link = Link(records: records, pipes: pipes, loop: client.eventLoop, close: close)
        self.state.withLockedValue { state in
            state.links.append(link)
            state.open += 1
        }
        client.closeFuture.and(server.closeFuture).whenComplete { _ in self.state.withLockedValue { $0.open -= 1 } }
    }

    /// Makes a close send a RST and discard the unsent bytes of the kernel.
    private static func resetOnClose(_ channels: any Channel...) {
        for channel in channels {
            _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        }
    }
}

/// The handler that delivers the bytes of a source to its pipe.
private final class FaultHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let pipe: FaultPipe
    private let onActive: () -> Void

    init(_ pipe: FaultPipe, onActive: @escaping () -> Void) {
        self.pipe = pipe
        self.onActive = onActive
    }

    func channelActive(context: ChannelHandlerContext) {
        self.onActive()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.pipe.read(self.unwrapInboundIn(data)) }

    func channelReadComplete(context: ChannelHandlerContext) { self.pipe.requestRead() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { self.pipe.sourceEnded() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) { self.pipe.sourceEnded() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset socket is closed, and its unsent bytes are lost.
        context.close(promise: nil)
    }
}
