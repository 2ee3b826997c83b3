import NIOCore

/// Reads the body of one SASL frame.
///
/// A reader of its own, not the message codec: a peer that has not logged in reaches these lines alone, and they know
/// seven types, one level deep. Source: AMQP 1.0 §1.6 and §5.3.3.
struct SASLFrameDecoder {
    private var buffer: ByteBuffer

    /// Decodes the body of a frame, from its descriptor on.
    static func decode(_ body: ByteBuffer) throws(AMQPError) -> SASLFrame {
        var decoder = SASLFrameDecoder(buffer: body)
        return try decoder.decodeFrame()
    }

    private mutating func decodeFrame() throws(AMQPError) -> SASLFrame {
        let code = try self.readDescriptor()
        var fields = try self.readListHeader()
        func next(_ decoder: inout SASLFrameDecoder) -> Bool {
            fields -= 1
            return fields >= 0
        }
        let frame: SASLFrame
        switch code {
        case 0x40:
            frame = .mechanisms(next(&self) ? try self.readSymbols() : [])
        case 0x41:
            guard next(&self), let mechanism = try self.readText(short: 0xa3, "mechanism") else {
                throw Self.error("sasl-init names no mechanism")
            }
            let response = next(&self) ? try self.readBytes(short: 0xa0, "initial-response") : nil
            let hostname = next(&self) ? try self.readText(short: 0xa1, "hostname") : nil
            frame = .initialise(mechanism: mechanism, response: response, hostname: hostname)
        case 0x42:
            frame = .challenge(next(&self) ? try self.readBytes(short: 0xa0, "challenge") ?? [] : [])
        case 0x43:
            frame = .response(next(&self) ? try self.readBytes(short: 0xa0, "response") ?? [] : [])
        default:
            guard next(&self), try self.readByte() == 0x50, let outcome = SASLCode(rawValue: try self.readByte())
            else {
                throw Self.error("sasl-outcome has no code from 0 to 4")
            }
            let additionalData = next(&self) ? try self.readBytes(short: 0xa0, "additional-data") : nil
            frame = .outcome(outcome, additionalData: additionalData)
        }
        guard fields <= 0, self.buffer.readableBytes == 0 else {
            throw Self.error("\(frame.name) has more fields or bytes than it may have")
        }
        return frame
    }

    private mutating func readDescriptor() throws(AMQPError) -> UInt64 {
        guard try self.readByte() == 0x00 else { throw Self.error("a frame holds no described list") }
        var code: UInt64?
        switch try self.readByte() {
        case 0x53: code = UInt64(try self.readByte())
        case 0x80: code = self.buffer.readInteger(as: UInt64.self)
        case 0xa3: code = try self.readSymbolicDescriptor(length: Int(try self.readByte()))
        case 0xb3: code = try self.readSymbolicDescriptor(length: Int(try self.readUInt32()))
        default: break
        }
        guard let code, (0x40...0x44).contains(code) else {
            throw Self.error("a frame holds a performative that SASL does not have")
        }
        return code
    }

    private mutating func readSymbolicDescriptor(length: Int) throws(AMQPError) -> UInt64? {
        let symbol = String(decoding: try self.readRaw(length), as: UTF8.self)
        return SASLFrame.symbols.firstIndex(of: symbol).map { 0x40 + UInt64($0) }
    }

    /// Reads a list's header and returns the number of its fields; what follows must be the rest of the frame.
    private mutating func readListHeader() throws(AMQPError) -> Int {
        let size: Int
        let count: Int
        let countWidth: Int
        switch try self.readByte() {
        case 0x45: (size, count, countWidth) = (0, 0, 0)
        case 0xc0: (size, count, countWidth) = (Int(try self.readByte()), Int(try self.readByte()), 1)
        case 0xd0: (size, count, countWidth) = (Int(try self.readUInt32()), Int(try self.readUInt32()), 4)
        default: throw Self.error("a frame holds no list")
        }
        guard size == self.buffer.readableBytes + countWidth else {
            throw Self.error("a list does not fill its frame")
        }
        return count
    }

    /// Reads one symbol, or an array of them, or null for none.
    private mutating func readSymbols() throws(AMQPError) -> [String] {
        let start = self.buffer.readerIndex
        let width: Int
        switch try self.readByte() {
        case 0xe0: width = 1
        case 0xf0: width = 4
        default:
            self.buffer.moveReaderIndex(to: start)
            return try self.readText(short: 0xa3, "mechanisms").map { [$0] } ?? []
        }
        let size = width == 1 ? Int(try self.readByte()) : Int(try self.readUInt32())
        guard size == self.buffer.readableBytes else { throw Self.error("an array does not fill its list") }
        let count = width == 1 ? Int(try self.readByte()) : Int(try self.readUInt32())
        let constructor = try self.readByte()
        guard constructor == 0xa3 || constructor == 0xb3 else { throw Self.error("mechanisms are not symbols") }
        // Each symbol takes a byte at least, so a count that the bytes cannot hold fails before it costs anything.
        guard count <= self.buffer.readableBytes else { throw Self.error("an array has too few bytes") }
        var names: [String] = []
        for _ in 0..<count {
            let length = constructor == 0xa3 ? Int(try self.readByte()) : Int(try self.readUInt32())
            names.append(try Self.text(try self.readRaw(length), isSymbol: true, "mechanisms"))
        }
        return names
    }

    private mutating func readText(short: UInt8, _ field: String) throws(AMQPError) -> String? {
        guard let bytes = try self.readBytes(short: short, field) else { return nil }
        return try Self.text(bytes, isSymbol: short == 0xa3, field)
    }

    private mutating func readBytes(short: UInt8, _ field: String) throws(AMQPError) -> [UInt8]? {
        switch try self.readByte() {
        case 0x40: return nil
        case short: return try self.readRaw(Int(try self.readByte()))
        case short + 0x10: return try self.readRaw(Int(try self.readUInt32()))
        default: throw Self.error("the field \(field) has another type than it must have")
        }
    }

    private static func text(_ bytes: [UInt8], isSymbol: Bool, _ field: String) throws(AMQPError) -> String {
        guard !isSymbol || bytes.allSatisfy({ (0x21...0x7e).contains($0) }),
            let text = String(validating: bytes, as: UTF8.self)
        else {
            throw self.error("the field \(field) holds bytes that are not its text")
        }
        return text
    }

    private mutating func readRaw(_ length: Int) throws(AMQPError) -> [UInt8] {
        guard let bytes = self.buffer.readBytes(length: length) else { throw Self.error("a frame ends too early") }
        return bytes
    }

    private mutating func readByte() throws(AMQPError) -> UInt8 {
        guard let byte = self.buffer.readInteger(as: UInt8.self) else { throw Self.error("a frame ends too early") }
        return byte
    }

    private mutating func readUInt32() throws(AMQPError) -> UInt32 {
        guard let value = self.buffer.readInteger(as: UInt32.self) else { throw Self.error("a frame ends too early") }
        return value
    }

    private static func error(_ cause: String) -> AMQPError {
        AMQPError(
            scope: .connection,
            condition: .decodeError,
            detail: "The peer's SASL bytes cannot be decoded: \(cause)."
        )
    }
}
