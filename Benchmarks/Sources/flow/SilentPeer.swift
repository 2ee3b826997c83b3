// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import QpidProton
import Synchronization

/// A server for one connection. It answers every open, begin and attach, grants credit for a million messages on each
/// link, and then never reads again.
final class SilentPeer: Sendable {
    private let server: any Channel
    private let channels: Channels

    fileprivate final class Channels: Sendable {
        let all = Mutex<[any Channel]>([])
    }

    private init(_ server: any Channel, _ channels: Channels) {
        self.server = server
        self.channels = channels
    }

    /// - Parameter links: The number of senders to attach before the peer stops reading.
    static func listen(links: Int) async throws -> SilentPeer {
        let channels = Channels()
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channels.all.withLock { $0.append(channel) }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(SilentPeerHandler(links: links))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return SilentPeer(server, channels)
    }

    var port: Int { self.server.localAddress?.port ?? 0 }

    /// Closes the sockets, which discards unread bytes.
    func close() async {
        for channel in self.channels.all.withLock({ $0 }) { try? await channel.close().get() }
        try? await self.server.close().get()
    }
}

private final class SilentPeerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var bytes = ByteBuffer()
    private var hasHeader = false
    private var linksLeft: Int

    init(links: Int) {
        self.linksLeft = links
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var data = self.unwrapInboundIn(data)
        self.bytes.writeBuffer(&data)
        if !self.hasHeader, let header = self.bytes.readSlice(length: 8) {
            self.hasHeader = true
            context.writeAndFlush(self.wrapOutboundOut(header), promise: nil)
        }
        while self.linksLeft > 0, let size = self.bytes.getInteger(at: self.bytes.readerIndex, as: UInt32.self),
            var frame = self.bytes.readSlice(length: Int(size))
        {
            let channel = frame.getInteger(at: frame.readerIndex + 6, as: UInt16.self) ?? 0
            frame.moveReaderIndex(forwardBy: 8)
            guard let value = (try? AMQPValue(decoding: &frame))?.describedValue else { continue }
            self.answer(value, channel, context)
        }
    }

    private func answer(_ frame: AMQPDescribed, _ channel: UInt16, _ context: ChannelHandlerContext) {
        let fields = frame.value.listValue ?? []
        let most = AMQPValue.uint(UInt32(Int32.max))
        switch frame.descriptor {
        case .ulong(0x10):
            self.send(0x10, ["silent", .null, .uint(65_536), .ushort(10)], 0, context)
        case .ulong(0x11):
            self.send(0x11, [.ushort(channel), .uint(0), most, most], channel, context)
        case .ulong(0x12) where fields.count > 6:
            // The same link with the roles swapped.
            self.send(0x12, [fields[0], fields[1], true] + fields[3...6], channel, context)
            let flow: [AMQPValue] = [.uint(0), most, .uint(0), most, fields[1], .uint(0), .uint(1_000_000)]
            self.send(0x13, flow, channel, context)
            self.linksLeft -= 1
            if self.linksLeft == 0 { _ = context.channel.setOption(.autoRead, value: false) }
        default: break
        }
    }

    private func send(_ code: UInt64, _ fields: [AMQPValue], _ channel: UInt16, _ context: ChannelHandlerContext) {
        var body = ByteBuffer()
        do {
            try AMQPValue.described(code, .list(fields)).encode(into: &body)
        } catch {
            return context.fireErrorCaught(error)
        }
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(8 + body.readableBytes))
        frame.writeBytes([2, 0])
        frame.writeInteger(channel)
        frame.writeBuffer(&body)
        context.writeAndFlush(self.wrapOutboundOut(frame), promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
