import NIOCore

/// Passing over values without making them, and reading what was passed over.
extension ValueReader {
    /// Passes over one value, with all the checks that ``value()`` makes.
    mutating func passValue() throws(CodecFault) {
        let start = self.offset
        let code = try self.fixed(UInt8.self)
        switch code {
        case Code.string8, Code.string32: try self.passString(wide: code == Code.string32)
        case Code.symbol8, Code.symbol32: try self.passSymbol(wide: code == Code.symbol32)
        case Code.binary8, Code.binary32: self.skip(try self.length(wide: code == Code.binary32))
        case Code.bool: _ = try self.boolean()
        case Code.char: _ = try self.scalar()
        case Code.list8, Code.list32: try self.passList(wide: code == Code.list32)
        case Code.map8, Code.map32: _ = try self.passMap(wide: code == Code.map32)
        case Code.array8, Code.array32: _ = try self.array(wide: code == Code.array32)
        case Code.described:
            try self.descend()
            try self.charge(1)
            try self.passValue()
            try self.passValue()
            self.depthLeft &+= 1
        default:
            guard Code.type(of: code) != nil else { throw CodecFault(.unknownConstructor, at: start, Int(code)) }
            let width = Code.minimumWidth(of: code)
            try self.need(width)
            self.skip(width)
        }
    }

    @inline(__always)
    private mutating func passString(wide: Bool) throws(CodecFault) {
        let length = try self.length(wide: wide)
        let text = UnsafeRawBufferPointer(start: self.bytes + self.offset, count: length)
        if !text.isASCII {
            let valid = text.validUTF8Prefix
            guard valid == length else { throw CodecFault(.invalidUTF8, at: self.offset &+ valid) }
        }
        self.skip(length)
    }

    @inline(__always)
    private mutating func passSymbol(wide: Bool) throws(CodecFault) {
        let length = try self.length(wide: wide)
        try self.checkSymbol(UnsafeRawBufferPointer(start: self.bytes + self.offset, count: length))
        self.skip(length)
    }

    private mutating func passList(wide: Bool) throws(CodecFault) {
        let (count, outerEnd) = try self.enter(wide: wide)
        try self.admit(count, width: 1, countWidth: wide ? 4 : 1)
        for _ in 0..<count { try self.passValue() }
        try self.leave(to: outerEnd)
    }

    /// Passes over a map whose constructor has been read. Returns the number of its keys and values.
    mutating func passMap(wide: Bool) throws(CodecFault) -> Int {
        let (count, outerEnd) = try self.enter(wide: wide)
        guard count.isMultiple(of: 2) else {
            throw CodecFault(.oddMapCount, at: self.offset &- (wide ? 4 : 1), count)
        }
        try self.admit(count, width: 1, countWidth: wide ? 4 : 1)
        if count > 2 {
            try self.passPairs(count / 2)
        } else if count > 0 {
            try self.passValue()
            try self.passValue()
        }
        try self.leave(to: outerEnd)
        return count
    }

    private mutating func passPairs(_ count: Int) throws(CodecFault) {
        var fault: CodecFault?
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: MapKeys.places(for: count)) { table in
            var keys = MapKeys(in: table)
            do throws(CodecFault) {
                for _ in 0..<count {
                    let start = self.offset
                    try self.passValue()
                    guard keys.insert(from: start, self) else { throw CodecFault(.duplicateKey, at: start) }
                    try self.passValue()
                }
            } catch {
                fault = error
            }
        }
        if let fault { throw fault }
    }

    // MARK: What was passed over

    /// Reads from the front of bytes that have been passed over. Nil does not happen.
    @inline(__always)
    static func passed<T>(_ buffer: ByteBuffer, _ body: (inout ValueReader) throws(CodecFault) -> T) -> T? {
        var offset = 0
        return self.passed(buffer, from: &offset, body)
    }

    /// Reads from an offset on, which then lies behind what was read.
    @inline(__always)
    @discardableResult
    static func passed<T>(
        _ buffer: ByteBuffer,
        from offset: inout Int,
        _ body: (inout ValueReader) throws(CodecFault) -> T
    ) -> T? {
        withUnsafePointer(to: buffer) { pointer in
            buffer.withUnsafeReadableBytes { bytes in
                var reader = ValueReader(passed: bytes, from: offset, pointer)
                let result = try? body(&reader)
                offset = reader.offset
                return result
            }
        }
    }

    /// The value at an offset that has been passed over.
    func passed(_ start: Int) -> AMQPValue? {
        let bytes = UnsafeRawBufferPointer(start: self.bytes, count: self.end)
        var reader = ValueReader(passed: bytes, from: start, self.buffer)
        return try? reader.value()
    }

    /// The bytes of a string, a symbol or a binary value that has been passed over; nil for another type.
    @inline(__always)
    func passedText(_ start: Int) -> UnsafeRawBufferPointer? {
        let code = self.bytes.load(fromByteOffset: start, as: UInt8.self)
        switch code {
        case Code.string8, Code.symbol8, Code.binary8:
            let count = Int(self.bytes.load(fromByteOffset: start &+ 1, as: UInt8.self))
            return UnsafeRawBufferPointer(start: self.bytes + (start &+ 2), count: count)
        case Code.string32, Code.symbol32, Code.binary32:
            let count = UInt32(bigEndian: self.bytes.loadUnaligned(fromByteOffset: start &+ 1, as: UInt32.self))
            return UnsafeRawBufferPointer(start: self.bytes + (start &+ 5), count: Int(count))
        default: return nil
        }
    }

    /// Whether two values that have been passed over are equal, whatever form they were encoded in.
    func isEqual(_ first: Int, _ second: Int) -> Bool {
        guard let text = self.passedText(first), let other = self.passedText(second) else {
            return self.passed(first) == self.passed(second)
        }
        let kinds =
            self.bytes.load(fromByteOffset: first, as: UInt8.self)
            ^ self.bytes.load(fromByteOffset: second, as: UInt8.self)
        return kinds & ~Code.wide == 0 && text.hasSameBytes(as: other)
    }

    /// Passes over the next value, which has been passed over before; returns whether it was text of a kind with these
    /// bytes.
    @inline(__always)
    mutating func isNextText(_ kind: UInt8, _ wanted: UnsafeRawBufferPointer) throws(CodecFault) -> Bool {
        let code = try self.peek()
        guard code & ~Code.wide == kind, let text = self.passedText(self.offset) else {
            try self.skipValue()
            return false
        }
        self.skip((code == kind ? 2 : 5) &+ text.count)
        return text.hasSameBytes(as: wanted)
    }

    /// Passes over a map that has been passed over before. Returns the number of its keys and values.
    mutating func skipMap(wide: Bool) throws(CodecFault) -> Int {
        let size = try self.length(wide: wide)
        let end = self.offset &+ size
        let count = wide ? Int(clamping: try self.fixed(UInt32.self)) : Int(try self.fixed(UInt8.self))
        self.skip(end &- self.offset)
        return count
    }

    /// Passes over a value that has been passed over before.
    mutating func skipValue() throws(CodecFault) {
        let code = try self.fixed(UInt8.self)
        switch code >> 4 {
        case 0x0:
            try self.skipValue()
            try self.skipValue()
        case 0xa, 0xc, 0xe: self.skip(try self.length(wide: false))
        case 0xb, 0xd, 0xf: self.skip(try self.length(wide: true))
        default: self.skip(Code.minimumWidth(of: code))
        }
    }
}
