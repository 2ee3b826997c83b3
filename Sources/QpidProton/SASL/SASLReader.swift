// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// A reader that splits the bytes of the SASL layer into a header and frames, and buffers an incomplete rest.
struct SASLReader {
    private var buffer = ByteBuffer()
    /// The largest frame and the largest ``buffer``, in bytes.
    let maxFrameSize: Int

    init(maxFrameSize: Int) {
        self.maxFrameSize = max(SASLReader.minimumMaxFrameSize, maxFrameSize)
    }

    /// The frame size that every peer must accept, in bytes. Source: AMQP 1.0 §5.3.1, MIN-MAX-FRAME-SIZE.
    static let minimumMaxFrameSize = 512

    /// The number of buffered bytes.
    var count: Int { self.buffer.readableBytes }

    mutating func append(_ bytes: inout ByteBuffer) {
        if self.buffer.readableBytes == 0 {
            self.buffer = bytes
        } else {
            self.buffer.discardReadBytes()
            self.buffer.writeBuffer(&bytes)
        }
    }

    /// Returns the header; `nil` until it is complete. The header stays in the buffer until ``dropHeader()``.
    func header() -> ProtocolHeader? {
        let bytes = self.buffer.getBytes(at: self.buffer.readerIndex, length: min(8, self.buffer.readableBytes)) ?? []
        let name = Array("AMQP".utf8)
        if !bytes.prefix(4).elementsEqual(name.prefix(bytes.count)) { return .foreign(bytes) }
        guard bytes.count == 8 else { return nil }
        return .amqp(id: bytes[4], major: bytes[5], minor: bytes[6], revision: bytes[7])
    }

    mutating func dropHeader() {
        self.buffer.moveReaderIndex(forwardBy: min(8, self.buffer.readableBytes))
    }

    /// Removes and returns the next frame; `nil` until it is complete. Throws for a frame that is too large before its
    /// bytes are buffered.
    mutating func nextFrame() throws(AMQPError) -> SASLFrame? {
        // Read the size before the header is complete, to refuse a large frame early.
        let header = self.buffer.withUnsafeReadableBytes { bytes in
            var cursor = ByteCursor(bytes)
            return (size: cursor.number(isWide: true), offset: cursor.byte(), type: cursor.byte())
        }
        guard let size = header.size else { return nil }
        if size > self.maxFrameSize {
            throw AMQPError(
                scope: .connection,
                condition: .connectionFramingError,
                detail: "the peer announced a SASL frame of \(size) bytes: at most \(self.maxFrameSize) are allowed"
            )
        }
        if size < 8 { throw Self.framingError("a frame of \(size) bytes is smaller than its header") }
        guard let offset = header.offset, let type = header.type else { return nil }
        if type != 1 { throw Self.framingError("a frame has type \(type), where SASL frames have type 1") }
        let bodyOffset = Int(offset) * 4
        if bodyOffset < 8 || bodyOffset > size { throw Self.framingError("a frame's data offset is \(offset)") }
        guard var frame = self.buffer.readSlice(length: size) else { return nil }
        frame.moveReaderIndex(forwardBy: bodyOffset)
        return try SASLFrameDecoder.decode(frame)
    }

    /// Removes and returns all remaining bytes.
    mutating func takeRest() -> ByteBuffer? {
        guard self.buffer.readableBytes > 0 else { return nil }
        defer { self.buffer = ByteBuffer() }
        return self.buffer
    }

    private static func framingError(_ cause: String) -> AMQPError {
        AMQPError(
            scope: .connection,
            condition: .connectionFramingError,
            detail: "the peer's SASL bytes are not frames: \(cause)"
        )
    }
}
