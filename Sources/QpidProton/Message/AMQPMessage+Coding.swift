public import NIOCore

extension AMQPMessage {
    /// Decodes a message from all the readable bytes of a buffer.
    ///
    /// The body's data and other binary values share the buffer's memory: nothing of them is copied, and the buffer's
    /// memory lives as long as one of them.
    ///
    /// A message that breaks a rule and whose meaning is certain is decoded, unless ``AMQPDecodingLimits/isStrict`` is set.
    ///
    /// - Parameters:
    ///   - buffer: The encoded message.
    ///   - limits: What the message may hold, and how strictly it is read.
    /// - Throws: `amqp:decode-error` with the offset of the byte where the bytes stop to be a message: see
    ///   ``AMQPValue/init(decoding:limits:)``. A section that is unknown or occurs twice, and a body of two kinds, throw too.
    ///
    /// Source: AMQP 1.0 §3.2.
    public init(decoding buffer: ByteBuffer, limits: AMQPDecodingLimits = .default) throws(AMQPError) {
        guard buffer.readableBytes > 0 else {
            self.init()
            return
        }
        self = try ValueReader.message(buffer, limits)
    }

    /// Appends the encoded message to a buffer. If it throws, the buffer is as before.
    ///
    /// - Throws: `local:invalid-argument` where a symbol is not ASCII, values lie deeper in each other than
    ///   ``AMQPDecodingLimits/highestDepth``, or the message is larger than 2 GiB.
    ///
    /// Source: AMQP 1.0 §3.2.
    public func encode(into buffer: inout ByteBuffer) throws(AMQPError) {
        try ValueWriter.write(into: &buffer, bound: { (size) throws(CodecFault) in try size.add(self) }) {
            (writer) throws(CodecFault) in try writer.message(self)
        }
    }

    /// The encoded message, in one allocation.
    ///
    /// - Throws: the same as ``encode(into:)``.
    public func encoded() throws(AMQPError) -> ByteBuffer {
        var buffer = ByteBuffer()
        try self.encode(into: &buffer)
        return buffer
    }

    /// The memory that ``encode(to:)`` needs.
    func encodingRoom() throws(AMQPError) -> Int {
        var size = EncodedSize()
        do throws(CodecFault) {
            try size.add(self)
        } catch {
            throw error.encodingError
        }
        return ValueWriter.room(for: size.bytes)
    }

    /// Encodes to the front of memory. Returns how many bytes; `nil` if the memory does not suffice.
    func encode(to memory: UnsafeMutableRawBufferPointer) throws(AMQPError) -> Int? {
        do throws(CodecFault) {
            return try ValueWriter.write(to: memory) { (writer) throws(CodecFault) in try writer.message(self) }
        } catch {
            throw error.encodingError
        }
    }

    /// A number of bytes that the encoded message does not exceed, at most a few more per value than it takes.
    public var encodedSizeHint: Int {
        var size = EncodedSize()
        try? size.add(self)
        return size.bytes
    }
}

extension AMQPValue {
    /// Decodes one value from the front of a buffer, and moves the reader index behind it.
    ///
    /// Binary values share the buffer's memory. If it throws, the buffer is as before.
    ///
    /// - Throws: `amqp:decode-error` with the offset (from the reader index) of the byte where the bytes stop to be a
    ///   value: too few, a constructor that AMQP does not define, text that is not UTF-8, a symbol that is not ASCII,
    ///   a `char` that is no Unicode scalar, a map with half a pair or with a key that occurs twice, or what exceeds
    ///   the limits.
    ///
    /// Source: AMQP 1.0 §1.2–1.6.
    public init(decoding buffer: inout ByteBuffer, limits: AMQPDecodingLimits = .default) throws(AMQPError) {
        let result = try ValueReader.value(buffer, limits)
        buffer.moveReaderIndex(forwardBy: result.length)
        self = result.value
    }

    /// Appends the encoded value to a buffer, in the smallest form that AMQP has for it. If it throws, the buffer
    /// is as before.
    ///
    /// - Throws: `local:invalid-argument` where a symbol is not ASCII, values lie deeper in each other than
    ///   ``AMQPDecodingLimits/highestDepth``, or the value is larger than 2 GiB.
    ///
    /// Source: AMQP 1.0 §1.2–1.6.
    public func encode(into buffer: inout ByteBuffer) throws(AMQPError) {
        try ValueWriter.write(into: &buffer, bound: { (size) throws(CodecFault) in try size.add(self) }) {
            (writer) throws(CodecFault) in try writer.value(self)
        }
    }
}
