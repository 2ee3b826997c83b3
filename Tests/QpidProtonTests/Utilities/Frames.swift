import NIOCore

@testable import QpidProton

/// A frame of the wire, for tests that look at the bytes or make bytes that Proton would not send.
struct Frame: Sendable {
    enum Code: UInt64 {
        case open = 0x10
        case begin, attach, flow, transfer, disposition, detach, end, close
    }

    var channel: UInt16
    /// Nil for an empty frame, a heartbeat.
    var code: Code?
    var fields: [AMQPValue]
    var payload = ByteBuffer()

    init(_ code: Code, channel: UInt16 = 0, _ fields: [AMQPValue], payload: ByteBuffer = ByteBuffer()) {
        self.channel = channel
        self.code = code
        self.fields = fields
        self.payload = payload
    }

    /// Splits a recorded stream, which begins with the protocol header, into its complete frames.
    static func parse(_ stream: ByteBuffer) -> [Frame] {
        var stream = stream
        var frames: [Frame] = []
        stream.moveReaderIndex(forwardBy: min(8, stream.readableBytes))
        while let size = stream.getInteger(at: stream.readerIndex, as: UInt32.self), size >= 8,
            var bytes = stream.readSlice(length: Int(size))
        {
            frames.append(Frame(&bytes))
        }
        return frames
    }

    private init(_ bytes: inout ByteBuffer) {
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

    /// A field by its place in the standard; null where it was left out.
    func field(_ index: Int) -> AMQPValue { index < self.fields.count ? self.fields[index] : .null }

    func encoded() throws -> ByteBuffer {
        var body = ByteBuffer()
        if let code = self.code { try AMQPValue.described(code.rawValue, .list(self.fields)).encode(into: &body) }
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(8 + body.readableBytes + self.payload.readableBytes))
        frame.writeBytes([2, 0])
        frame.writeInteger(self.channel)
        frame.writeBuffer(&body)
        frame.writeImmutableBuffer(self.payload)
        return frame
    }

    /// A transfer that needs no credit of Proton's.
    static func transfer(
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
}
