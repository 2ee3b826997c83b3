// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The decoder of the body of one SASL frame.
///
/// This is not the message codec: before its login a peer reaches only this code and the cursor, which accept seven
/// types, one level deep. Source: AMQP 1.0 §1.6 and §5.3.3.
struct SASLFrameDecoder {
    private var cursor: ByteCursor

    /// Decodes the body of a frame from its descriptor.
    static func decode(_ body: ByteBuffer) throws(AMQPError) -> SASLFrame {
        let frame = body.withUnsafeReadableBytes { bytes -> Result<SASLFrame, AMQPError> in
            var decoder = SASLFrameDecoder(cursor: ByteCursor(bytes))
            do throws(AMQPError) {
                return .success(try decoder.decodeFrame())
            } catch {
                return .failure(error)
            }
        }
        return try frame.get()
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
            guard next(&self), let mechanism = try self.readText(Code.symbol8, "mechanism") else {
                throw Self.error("sasl-init names no mechanism")
            }
            let response = next(&self) ? try self.readBinary("initial-response") : nil
            let hostname = next(&self) ? try self.readText(Code.string8, "hostname") : nil
            frame = .initialise(mechanism: mechanism, response: response, hostname: hostname)
        case 0x42:
            frame = .challenge(next(&self) ? try self.readBinary("challenge") ?? [] : [])
        case 0x43:
            frame = .response(next(&self) ? try self.readBinary("response") ?? [] : [])
        default:
            guard next(&self), try self.readByte() == Code.ubyte, let outcome = SASLCode(rawValue: try self.readByte())
            else {
                throw Self.error("sasl-outcome has no code from 0 to 4")
            }
            let additionalData = next(&self) ? try self.readBinary("additional-data") : nil
            frame = .outcome(outcome, additionalData: additionalData)
        }
        guard fields <= 0, self.cursor.left == 0 else {
            throw Self.error("\(frame.name) has too many fields or bytes")
        }
        return frame
    }

    private mutating func readDescriptor() throws(AMQPError) -> UInt64 {
        guard try self.readByte() == Code.described else { throw Self.error("a frame contains no described list") }
        let constructor = try self.readByte()
        let code: UInt64? =
            switch constructor {
            case Code.smallUlong: UInt64(try self.readByte())
            case Code.ulong: self.cursor.integer(UInt64.self)
            case Code.symbol8, Code.symbol32: Self.code(try self.readSized(constructor))
            default: nil
            }
        guard let code, (0x40...0x44).contains(code) else {
            throw Self.error("a frame contains a performative that SASL does not define")
        }
        return code
    }

    /// Returns the numeric code of a symbolic descriptor.
    private static func code(_ symbol: UnsafeRawBufferPointer) -> UInt64? {
        SASLFrame.symbols.firstIndex(of: String(decoding: symbol, as: UTF8.self)).map { 0x40 + UInt64($0) }
    }

    /// Reads a list's header and returns the number of its fields, which must fill the rest of the frame.
    private mutating func readListHeader() throws(AMQPError) -> Int {
        let constructor = try self.readByte()
        let list: (end: Int, count: Int)?
        switch constructor {
        case Code.list0: list = (self.cursor.offset, 0)
        case Code.list8, Code.list32: list = self.cursor.compound(isWide: Code.isWide(constructor))
        default: throw Self.error("a frame contains no list")
        }
        guard let list else { throw Self.tooShort }
        guard list.end == self.cursor.end else { throw Self.error("a list does not fill its frame") }
        return list.count
    }

    /// Reads one symbol, an array of symbols, or null for no symbols.
    private mutating func readSymbols() throws(AMQPError) -> [String] {
        guard let array = self.cursor.peek(), array & ~Code.wide == Code.array8 else {
            return try self.readText(Code.symbol8, "mechanisms").map { [$0] } ?? []
        }
        _ = try self.readByte()
        guard try self.readNumber(array) == self.cursor.left else {
            throw Self.error("an array does not fill its list")
        }
        let count = try self.readNumber(array)
        let constructor = try self.readByte()
        guard constructor & ~Code.wide == Code.symbol8 else { throw Self.error("mechanisms are not symbols") }
        // Each symbol needs at least one byte, so a count beyond the bytes fails before an allocation.
        guard count <= self.cursor.left else { throw Self.error("an array has too few bytes") }
        var names: [String] = []
        for _ in 0..<count {
            names.append(try Self.text(try self.readSized(constructor), isSymbol: true, "mechanisms"))
        }
        return names
    }

    private mutating func readText(_ kind: UInt8, _ field: String) throws(AMQPError) -> String? {
        guard let bytes = try self.readSized(kind, field) else { return nil }
        return try Self.text(bytes, isSymbol: kind == Code.symbol8, field)
    }

    private mutating func readBinary(_ field: String) throws(AMQPError) -> [UInt8]? {
        try self.readSized(Code.binary8, field).map { Array($0) }
    }

    /// Returns the content of a field of a kind, in its narrow or its wide form; `nil` for null.
    private mutating func readSized(_ kind: UInt8, _ field: String) throws(AMQPError) -> UnsafeRawBufferPointer? {
        let constructor = try self.readByte()
        if constructor == Code.null { return nil }
        guard constructor & ~Code.wide == kind else {
            throw Self.error("the field \(field) has a wrong type")
        }
        return try self.readSized(constructor)
    }

    private static func text(
        _ bytes: UnsafeRawBufferPointer,
        isSymbol: Bool,
        _ field: String
    ) throws(AMQPError) -> String {
        guard !isSymbol || bytes.allSatisfy({ (0x21...0x7e).contains($0) }),
            let text = String(validating: bytes, as: UTF8.self)
        else {
            throw self.error("the field \(field) is not valid text")
        }
        return text
    }

    /// Returns the content that follows a constructor.
    private mutating func readSized(_ constructor: UInt8) throws(AMQPError) -> UnsafeRawBufferPointer {
        guard let bytes = self.cursor.sized(isWide: Code.isWide(constructor)) else { throw Self.tooShort }
        return bytes
    }

    /// Returns a size or a count, whose width a constructor determines.
    private mutating func readNumber(_ constructor: UInt8) throws(AMQPError) -> Int {
        guard let number = self.cursor.number(isWide: Code.isWide(constructor)) else { throw Self.tooShort }
        return number
    }

    private mutating func readByte() throws(AMQPError) -> UInt8 {
        guard let byte = self.cursor.byte() else { throw Self.tooShort }
        return byte
    }

    private static var tooShort: AMQPError { self.error("a frame is cut short") }

    private static func error(_ cause: String) -> AMQPError {
        AMQPError(
            scope: .connection,
            condition: .decodeError,
            detail: "the peer's SASL bytes cannot be decoded: \(cause)"
        )
    }
}
