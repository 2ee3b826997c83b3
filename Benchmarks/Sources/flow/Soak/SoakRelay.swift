// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Synchronization

/// A TCP relay on loopback that disturbs its connections at random. It resets a connection, closes one direction, or
/// stops reading for some seconds or for ever.
final class SoakRelay: Sendable {
    private let random: Mutex<SeededRandom>
    private let target: Int
    private let server = Mutex<(any Channel)?>(nil)
    /// The number of faults of each kind.
    let faults = Mutex<[Fault: Int]>([:])

    enum Fault: String, Sendable, CaseIterable {
        case none, reset, close, halfClose, pause, silence
    }

    init(to target: Int, seed: UInt64) {
        self.target = target
        self.random = Mutex(SeededRandom(seed: seed))
    }

    var port: Int { self.server.withLock { $0?.localAddress?.port } ?? 0 }

    func start() async throws {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { self.accept($0) }
            .bind(host: "127.0.0.1", port: 0).get()
        self.server.withLock { $0 = channel }
    }

    func close() async {
        try? await self.server.withLock { $0 }?.close().get()
        self.server.withLock { $0 = nil }
    }

    private func accept(_ client: any Channel) -> EventLoopFuture<Void> {
        // Both sockets are on one event loop, so they need no synchronization.
        ClientBootstrap(group: client.eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: false)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: "127.0.0.1", port: self.target)
            .assumeIsolated().flatMapThrowing { server in
                let (near, far) = (SoakRelayEnd(client), SoakRelayEnd(server))
                near.partner = far
                far.partner = near
                try client.pipeline.syncOperations.addHandler(near)
                try server.pipeline.syncOperations.addHandler(far)
                self.disturb(near, far, client.eventLoop)
            }
            .nonisolated()
    }

    private func disturb(_ near: SoakRelayEnd, _ far: SoakRelayEnd, _ loop: any EventLoop) {
        let (draw, after, length, isNear) = self.random.withLock { random in
            (
                Double.random(in: 0..<1, using: &random), Int64.random(in: 5...12_000, using: &random),
                Int64.random(in: 200...2_500, using: &random), Bool.random(using: &random)
            )
        }
        let fault: Fault =
            switch draw {
            case ..<0.3: .none
            case ..<0.5: .reset
            case ..<0.6: .close
            case ..<0.75: .halfClose
            case ..<0.95: .pause
            default: .silence
            }
        let end = isNear ? near : far
        loop.assumeIsolated().scheduleTask(in: .milliseconds(fault == .none ? 0 : after)) { [weak end] in
            guard let end else { return }
            if end.isOpen || fault == .none { self.faults.withLock { $0[fault, default: 0] += 1 } }
            switch fault {
            case .none: break
            case .reset: end.reset()
            case .close: end.close()
            case .halfClose: end.endOutput()
            case .pause: end.pause(for: .milliseconds(length))
            case .silence: end.pause(for: nil)
            }
        }
    }
}

/// One socket of a relayed connection.
private final class SoakRelayEnd: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let channel: any Channel
    weak var partner: SoakRelayEnd?
    private var isPaused = false
    private var hasEnded = false

    init(_ channel: any Channel) {
        self.channel = channel
    }

    var isOpen: Bool { self.channel.isActive }

    // MARK: Faults

    func reset() {
        for channel in [self.channel, self.partner?.channel].compactMap({ $0 }) {
            _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        }
        self.close()
    }

    func close() {
        self.partner?.channel.close(promise: nil)
        self.channel.close(promise: nil)
    }

    /// Sends a FIN to this side, and drops further bytes for it.
    func endOutput() {
        self.hasEnded = true
        self.channel.close(mode: .output, promise: nil)
    }

    /// Stops reading from this side.
    func pause(for time: TimeAmount?) {
        self.isPaused = true
        guard let time else { return }
        self.channel.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in
            self?.isPaused = false
            self?.readOn()
        }
    }

    // MARK: Bytes

    private func readOn() {
        guard !self.isPaused, let partner = self.partner, partner.hasEnded || partner.channel.isWritable else { return }
        self.channel.read()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { self.readOn() }
    }

    func channelActive(context: ChannelHandlerContext) {
        self.readOn()
        self.partner?.readOn()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let partner = self.partner, !partner.hasEnded else { return }
        partner.channel.write(self.unwrapInboundIn(data), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.partner?.channel.flush()
        self.readOn()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.partner?.readOn() }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { self.partner?.endOutput() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.partner?.channel.close(promise: nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.close()
    }
}
