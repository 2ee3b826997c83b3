// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import TestSupport

/// One connection of a ``ScriptedPeer``.
final class ScriptedPeerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let peer: ScriptedPeer
    private var bytes = ByteBuffer()
    private var expectsHeader = true
    private var counts: [Frame.Code: Int] = [:]
    private var lastSession: UInt16 = 0
    private var lastHandle = AMQPValue.uint(0)
    private var lastDelivery = AMQPValue.uint(0)
    /// The ends that this side has sent first, whose answers need no answer.
    private var begunEnds: Set<Frame.Code> = []
    private var owesMessages = false
    private var written = 0

    init(_ peer: ScriptedPeer) { self.peer = peer }

    func channelActive(context: ChannelHandlerContext) {
        self.peer.note(context.channel)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.peer.note(bytes)
        self.bytes.writeBuffer(&bytes)
        if let greeting = self.peer.login.greeting {
            self.write(ByteBuffer(bytes: greeting), context)
            return context.close(promise: nil)
        }
        while self.readNext(context) {}
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let reaction = event as? ScriptedPeer.Reaction { self.perform(reaction, context) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    // MARK: Reading

    /// Reads one header or frame. Returns `false` if the bytes contain no complete one.
    private func readNext(_ context: ChannelHandlerContext) -> Bool {
        guard self.expectsHeader else { return self.readFrame(context) }
        guard let header = self.bytes.readBytes(length: 8) else { return false }
        self.expectsHeader = false
        let isSASL = header[4] == 3
        guard !isSASL || self.peer.login.answersHeader else { return false }
        self.write(ByteBuffer(bytes: header), context)
        if isSASL {
            let mechanisms = AMQPValue.array(AMQPArray(symbols: self.peer.login.mechanisms))
            self.send(.mechanisms, [mechanisms], context)
        }
        return true
    }

    private func readFrame(_ context: ChannelHandlerContext) -> Bool {
        guard let size = self.bytes.getInteger(at: self.bytes.readerIndex, as: UInt32.self),
            var bytes = self.bytes.readSlice(length: Int(size))
        else { return false }
        let frame = Frame(&bytes)
        // An empty frame is a heartbeat.
        guard let code = frame.code else { return true }
        if !code.isSASL {
            self.react(code, frame.fields, frame.channel, context)
        } else if self.peer.login.answersInit {
            self.expectsHeader = true
            self.send(.outcome, [.ubyte(self.peer.login.code)], context)
        }
        return true
    }

    private func react(_ kind: Frame.Code, _ fields: [AMQPValue], _ channel: UInt16, _ context: ChannelHandlerContext) {
        self.peer.note(kind)
        self.counts[kind, default: 0] += 1
        if kind != .open && kind != .close { self.lastSession = channel }
        if [.attach, .detach, .transfer].contains(kind) { self.lastHandle = fields[kind == .attach ? 1 : 0] }
        let reaction = self.peer.react(kind, self.counts[kind] ?? 0)
        switch reaction {
        case .answer: self.answer(kind, fields, channel, context)
        case .close, .end, .detach:
            if [.open, .begin, .attach].contains(kind) { self.answer(kind, fields, channel, context) }
            self.perform(reaction, context)
        case .ignore, .drop: self.perform(reaction, context)
        }
    }

    // MARK: Answering

    private func answer(
        _ kind: Frame.Code,
        _ fields: [AMQPValue],
        _ channel: UInt16,
        _ context: ChannelHandlerContext
    ) {
        let field = { (index: Int) in index < fields.count ? fields[index] : .null }
        switch kind {
        case .open: self.send(kind, ["scripted", .null, .uint(65_536), .ushort(1_023)], context)
        case .begin: self.send(kind, [.ushort(channel), .uint(0), .uint(10_000), .uint(10_000)], context, channel)
        case .attach:
            let weReceive = field(2).boolValue == false
            let attach = [field(0), field(1), .bool(weReceive), field(3), field(4), field(5), field(6)]
            self.send(kind, weReceive ? attach : attach + [.null, .null, .uint(0)], context, channel)
            self.owesMessages = !weReceive && field(5).describedValue?.value.listValue?.first == "two-messages"
            guard weReceive, field(6).describedValue?.value.listValue?.first != "no-credit" else { return }
            let window: [AMQPValue] = [.uint(0), .uint(10_000), .uint(0), .uint(10_000)]
            self.send(.flow, window + [field(1), .uint(0), .uint(1_000)], context, channel)
        case .transfer:
            if !field(1).isNull { self.lastDelivery = field(1) }
            // Only the last transfer, without the field `more`, needs an outcome.
            guard field(5).boolValue != true else { return }
            let accepted = AMQPValue.described(0x24, .list([]))
            self.send(.disposition, [true, self.lastDelivery, .null, true, accepted], context, channel)
        case .detach, .end, .close:
            if self.begunEnds.remove(kind) == nil {
                self.send(kind, kind == .detach ? [field(0), field(1)] : [], context, channel)
            }
            if kind == .close { context.close(promise: nil) }
        case .flow where self.owesMessages && !field(6).isNull:
            self.owesMessages = false
            for frame in (try? FrameBytes.twoMessages(handle: field(4), channel: channel)) ?? [] {
                self.write(ByteBuffer(bytes: frame), context)
            }
        default: break
        }
    }

    private func perform(_ reaction: ScriptedPeer.Reaction, _ context: ChannelHandlerContext) {
        switch reaction {
        case .close: self.begunEnds.insert(.close)
        case .end: self.begunEnds.insert(.end)
        case .detach: self.begunEnds.insert(.detach)
        case .answer, .ignore, .drop: break
        }
        switch reaction {
        case .answer, .ignore: break
        case .close(let error): self.send(.close, FrameBytes.error(error), context)
        case .end(let error): self.send(.end, FrameBytes.error(error), context, self.lastSession)
        case .detach(let error):
            self.send(.detach, [self.lastHandle, true] + FrameBytes.error(error), context, self.lastSession)
        case .drop: context.close(promise: nil)
        }
    }

    private func send(
        _ code: Frame.Code,
        _ fields: [AMQPValue],
        _ context: ChannelHandlerContext,
        _ channel: UInt16 = 0
    ) {
        do {
            self.write(try Frame(code, channel: channel, fields).encoded(), context)
        } catch {
            context.fireErrorCaught(error)
        }
    }

    private func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        self.written += 1
        let bytes = self.peer.login.damage(Array(bytes.readableBytesView), self.written)
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
    }
}
