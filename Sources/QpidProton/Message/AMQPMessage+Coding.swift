// SPDX-License-Identifier: Apache-2.0

public import NIOCore

extension AMQPMessage {
    /// Decodes a message from all readable bytes of a buffer.
    ///
    /// The body's data and other binary values share the buffer's memory without a copy, and retain that memory.
    ///
    /// Decoding accepts a message that breaks a rule if its meaning is unambiguous, unless
    /// ``AMQPDecodingLimits/isStrict`` is set.
    ///
    /// - Parameters:
    ///   - buffer: The encoded message.
    ///   - limits: The limits of the message, and the strictness of decoding.
    /// - Throws: `amqp:decode-error` with the offset of the first wrong byte: see ``AMQPValue/init(decoding:limits:)``.
    ///   An unknown or repeated section, and a body of two kinds, are errors too.
    ///
    /// Source: AMQP 1.0 §3.2.
    public init(decoding buffer: ByteBuffer, limits: AMQPDecodingLimits = .default) throws(AMQPError) {
        guard buffer.readableBytes > 0 else {
            self.init()
            return
        }
        self = try ValueReader.message(buffer, limits)
    }

    /// Appends the encoded message to a buffer. If the call throws, the buffer is unchanged.
    ///
    /// - Throws: `local:invalid-argument` if a symbol is not ASCII, the nesting exceeds
    ///   ``AMQPDecodingLimits/highestDepth``, or the message is larger than 2 GiB.
    ///
    /// Source: AMQP 1.0 §3.2.
    public func encode(into buffer: inout ByteBuffer) throws(AMQPError) {
        try ValueWriter.write(into: &buffer, bound: { (size) throws(CodecFault) in try size.add(self) }) {
            (writer) throws(CodecFault) in try writer.message(self)
        }
    }

    /// Returns the encoded message, in one allocation.
    ///
    /// - Throws: The same errors as ``encode(into:)``.
    public func encoded() throws(AMQPError) -> ByteBuffer {
        var buffer = ByteBuffer()
        try self.encode(into: &buffer)
        return buffer
    }

    /// Returns the memory that ``encode(to:)`` needs.
    func encodingRoom() throws(AMQPError) -> Int {
        var size = EncodedSize()
        do throws(CodecFault) {
            try size.add(self)
        } catch {
            throw error.encodingError
        }
        return ValueWriter.room(for: size.bytes)
    }

    /// Encodes the message to the start of the memory. Returns the number of bytes; `nil` if the memory is too small.
    func encode(to memory: UnsafeMutableRawBufferPointer) throws(AMQPError) -> Int? {
        do throws(CodecFault) {
            return try ValueWriter.write(to: memory) { (writer) throws(CodecFault) in try writer.message(self) }
        } catch {
            throw error.encodingError
        }
    }

    /// An upper bound for the size of the encoded message in bytes, at most a few bytes too high per value.
    public var encodedSizeHint: Int {
        var size = EncodedSize()
        try? size.add(self)
        return size.bytes
    }
}

extension AMQPValue {
    /// Decodes one value from the start of a buffer, and moves the reader index past it.
    ///
    /// Binary values share the buffer's memory. If the call throws, the buffer is unchanged.
    ///
    /// - Throws: `amqp:decode-error` with the offset of the first wrong byte from the reader index. Errors are missing
    ///   bytes, an undefined constructor, text that is not UTF-8, and a symbol that is not ASCII. Further errors are a
    ///   `char` that is not a Unicode scalar, half a pair or a repeated key in a map, and values beyond the limits.
    ///
    /// Source: AMQP 1.0 §1.2–1.6.
    public init(decoding buffer: inout ByteBuffer, limits: AMQPDecodingLimits = .default) throws(AMQPError) {
        let result = try ValueReader.value(buffer, limits)
        buffer.moveReaderIndex(forwardBy: result.length)
        self = result.value
    }

    /// Appends the encoded value to a buffer, in its smallest AMQP form. If the call throws, the buffer is unchanged.
    ///
    /// - Throws: `local:invalid-argument` if a symbol is not ASCII, the nesting exceeds
    ///   ``AMQPDecodingLimits/highestDepth``, or the value is larger than 2 GiB.
    ///
    /// Source: AMQP 1.0 §1.2–1.6.
    public func encode(into buffer: inout ByteBuffer) throws(AMQPError) {
        try ValueWriter.write(into: &buffer, bound: { (size) throws(CodecFault) in try size.add(self) }) {
            (writer) throws(CodecFault) in try writer.value(self)
        }
    }
}
