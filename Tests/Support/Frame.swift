// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import QpidProton

/// A frame on the wire, for tests that check bytes or send bytes that Proton would not send.
package struct Frame: Sendable {
    /// The descriptor code of a frame's performative. Source: AMQP 1.0 §2.7 and §5.3.3.
    package enum Code: UInt64, Sendable {
        case open = 0x10
        case begin, attach, flow, transfer, disposition, detach, end, close
        case mechanisms = 0x40
        case initialise, challenge, response, outcome

        package var isSASL: Bool { self.rawValue >= Self.mechanisms.rawValue }
    }

    package var channel: UInt16
    /// The performative; `nil` for an empty frame, a heartbeat.
    package var code: Code?
    package var fields: [AMQPValue]
    package var payload = ByteBuffer()

    package init(_ code: Code, channel: UInt16 = 0, _ fields: [AMQPValue], payload: ByteBuffer = ByteBuffer()) {
        self.channel = channel
        self.code = code
        self.fields = fields
        self.payload = payload
    }

    /// Splits a recorded stream into its complete frames.
    ///
    /// - Parameter header: Whether the stream begins with the protocol header.
    package static func parse(_ stream: ByteBuffer, header: Bool = true) -> [Frame] {
        var stream = stream
        var frames: [Frame] = []
        if header { stream.moveReaderIndex(forwardBy: min(8, stream.readableBytes)) }
        while let size = stream.getInteger(at: stream.readerIndex, as: UInt32.self), size >= 8,
            var bytes = stream.readSlice(length: Int(size))
        {
            frames.append(Frame(&bytes))
        }
        return frames
    }

    /// Parses a whole frame.
    package init(_ bytes: inout ByteBuffer) {
        let offset = Int(bytes.getInteger(at: bytes.readerIndex + 4, as: UInt8.self) ?? 2) * 4
        self.channel = bytes.getInteger(at: bytes.readerIndex + 6, as: UInt16.self) ?? 0
        self.fields = []
        bytes.moveReaderIndex(forwardBy: min(offset, bytes.readableBytes))
        guard bytes.readableBytes > 0, case .described(let described)? = try? AMQPValue(decoding: &bytes),
            case .ulong(let code) = described.descriptor
        else { return }
        self.code = Code(rawValue: code)
        self.fields = described.value.listValue ?? []
        self.payload = bytes
    }

    /// Returns the field at a position of the standard; `.null` if it was omitted.
    package func field(_ index: Int) -> AMQPValue { index < self.fields.count ? self.fields[index] : .null }

    package func encoded() throws -> ByteBuffer {
        var body = ByteBuffer()
        if let code = self.code { try AMQPValue.described(code.rawValue, .list(self.fields)).encode(into: &body) }
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(8 + body.readableBytes + self.payload.readableBytes))
        frame.writeBytes([2, self.code?.isSASL == true ? 1 : 0])
        frame.writeInteger(self.channel)
        frame.writeBuffer(&body)
        frame.writeImmutableBuffer(self.payload)
        return frame
    }

    package func bytes() throws -> [UInt8] { Array(try self.encoded().readableBytesView) }
}

// MARK: Performatives

extension Frame {
    /// Returns a transfer that needs no credit from Proton.
    package static func transfer(
        handle: UInt32,
        id: UInt32?,
        tag: [UInt8]? = nil,
        settled: Bool = false,
        more: Bool = false,
        aborted: Bool = false,
        payload: ByteBuffer = ByteBuffer(),
        channel: UInt16 = 0
    ) -> Frame {
        Frame(
            .transfer,
            channel: channel,
            [
                .uint(handle), id.map { .uint($0) } ?? .null, tag.map { .binary(ByteBuffer(bytes: $0)) } ?? .null,
                .uint(0), .bool(settled), .bool(more), .null, .null, .null, .bool(aborted),
            ],
            payload: payload
        )
    }

    /// Returns a flow; without a handle, a flow of the session alone.
    package static func flow(
        nextIncomingID: UInt32? = 0,
        window: UInt32 = 1_000,
        nextOutgoingID: UInt32 = 0,
        outgoingWindow: UInt32 = 1_000,
        handle: UInt32? = nil,
        deliveryCount: UInt32? = nil,
        credit: UInt32? = nil,
        available: UInt32? = nil,
        drain: Bool = false,
        echo: Bool = false,
        properties: AMQPMap? = nil,
        channel: UInt16 = 0
    ) -> Frame {
        let numbers = [handle, deliveryCount, credit, available].map { number in
            number.map { AMQPValue.uint($0) } ?? .null
        }
        let windows: [AMQPValue] = [.uint(window), .uint(nextOutgoingID), .uint(outgoingWindow)]
        return Frame(
            .flow,
            channel: channel,
            [nextIncomingID.map { .uint($0) } ?? .null] + windows + numbers
                + [.bool(drain), .bool(echo), properties.map { .map($0) } ?? .null]
        )
    }

    package static func open(_ container: String = "adversary", maxFrame: UInt32 = 65_536, channelMax: UInt16 = 1_023)
        -> Frame
    {
        Frame(.open, [.string(container), .null, .uint(maxFrame), .ushort(channelMax)])
    }

    /// - Parameter answering: The channel of the library's session that this frame answers; `nil` for a session of the
    ///   peer's own.
    package static func begin(channel: UInt16 = 0, answering: UInt16? = nil, window: UInt32 = 10_000) -> Frame {
        Frame(
            .begin,
            channel: channel,
            [answering.map { .ushort($0) } ?? .null, .uint(0), .uint(window), .uint(window)]
        )
    }

    /// - Parameter isReceiver: Whether the attaching side is the receiver.
    package static func attach(
        _ name: AMQPValue,
        handle: UInt32,
        isReceiver: Bool,
        source: AMQPValue = .described(0x28, .list([.string("from")])),
        target: AMQPValue = .described(0x29, .list([.string("to")])),
        properties: AMQPValue = .null,
        channel: UInt16 = 0
    ) -> Frame {
        Frame(
            .attach,
            channel: channel,
            [
                name, .uint(handle), .bool(isReceiver), .null, .null, source, target, .null, .null,
                isReceiver ? .null : .uint(0), .null, .null, .null, properties,
            ]
        )
    }

    /// - Parameter isReceiver: Whether the deciding side is the receiver.
    package static func disposition(
        _ first: UInt32,
        _ last: UInt32? = nil,
        isReceiver: Bool = true,
        settled: Bool = true,
        state: AMQPValue = .described(0x24, .list([])),
        channel: UInt16 = 0
    ) -> Frame {
        let ids: [AMQPValue] = [.uint(first), last.map { .uint($0) } ?? .null]
        return Frame(.disposition, channel: channel, [.bool(isReceiver)] + ids + [.bool(settled), state])
    }

    package static func detach(_ handle: UInt32, channel: UInt16 = 0) -> Frame {
        Frame(.detach, channel: channel, [.uint(handle), .bool(true)])
    }
}
