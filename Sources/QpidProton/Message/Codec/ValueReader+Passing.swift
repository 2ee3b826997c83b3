// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Functions that skip values without creating them, and that read skipped values.
extension ValueReader {
    /// Skips one value with all the checks of ``value()``.
    mutating func passValue() throws(CodecFault) {
        let start = self.offset
        let code = try self.fixed(UInt8.self)
        switch code {
        case Code.string8, Code.string32: try self.passString(wide: code == Code.string32)
        case Code.symbol8, Code.symbol32: try self.passSymbol(wide: code == Code.symbol32)
        case Code.binary8, Code.binary32: _ = try self.sized(wide: code == Code.binary32)
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
            try self.skip(Code.minimumWidth(of: code))
        }
    }

    @inline(__always)
    private mutating func passString(wide: Bool) throws(CodecFault) {
        let text = try self.sized(wide: wide)
        if !text.isASCII {
            let valid = text.validUTF8Prefix
            guard valid == text.count else { throw self.fault(.invalidUTF8, at: valid, in: text) }
        }
    }

    @inline(__always)
    private mutating func passSymbol(wide: Bool) throws(CodecFault) {
        let text = try self.sized(wide: wide)
        try self.checkSymbol(text)
    }

    private mutating func passList(wide: Bool) throws(CodecFault) {
        let (count, outerEnd) = try self.enter(wide: wide)
        try self.admit(count, width: 1, countWidth: wide ? 4 : 1)
        for _ in 0..<count { try self.passValue() }
        try self.leave(to: outerEnd)
    }

    /// Skips a map after its constructor. Returns the number of its keys and values.
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

    // MARK: Skipped values

    /// Reads from the start of checked bytes. Never returns `nil`.
    @inline(__always)
    static func passed<T>(_ buffer: ByteBuffer, _ body: (inout ValueReader) throws(CodecFault) -> T) -> T? {
        var offset = 0
        return self.passed(buffer, from: &offset, body)
    }

    /// Reads checked bytes from an offset, and moves the offset past the read bytes.
    @inline(__always)
    @discardableResult
    static func passed<T>(
        _ buffer: ByteBuffer,
        from offset: inout Int,
        _ body: (inout ValueReader) throws(CodecFault) -> T
    ) -> T? {
        withUnsafePointer(to: buffer) { pointer in
            buffer.withUnsafeReadableBytes { bytes in
                var reader = ValueReader(passed: ByteCursor(bytes, offset: offset), pointer)
                let result = try? body(&reader)
                offset = reader.offset
                return result
            }
        }
    }

    /// Returns the checked value at an offset.
    func passed(_ start: Int) -> AMQPValue? {
        var reader = ValueReader(passed: self.cursor.moved(to: start), self.buffer)
        return try? reader.value()
    }

    /// Returns whether two checked values are equal, in any encoded form.
    func isEqual(_ first: Int, _ second: Int) -> Bool {
        guard let text = self.cursor.text(at: first), let other = self.cursor.text(at: second) else {
            return self.passed(first) == self.passed(second)
        }
        return text.kind == other.kind && text.bytes.hasSameBytes(as: other.bytes)
    }

    /// Skips the next checked value. Returns whether it is a text of `kind` with the bytes `wanted`.
    @inline(__always)
    mutating func isNextText(_ kind: UInt8, _ wanted: UnsafeRawBufferPointer) throws(CodecFault) -> Bool {
        guard try self.peek() & ~Code.wide == kind else {
            try self.skipValue()
            return false
        }
        let code = try self.fixed(UInt8.self)
        return try self.sized(wide: Code.isWide(code)).hasSameBytes(as: wanted)
    }

    /// Skips a checked map. Returns the number of its keys and values.
    mutating func skipMap(wide: Bool) throws(CodecFault) -> Int {
        guard let (end, count) = self.cursor.compound(isWide: wide) else {
            throw CodecFault(.truncated, at: self.offset)
        }
        try self.skip(end &- self.offset)
        return count
    }

    /// Skips a checked value.
    mutating func skipValue() throws(CodecFault) {
        let code = try self.fixed(UInt8.self)
        if code == Code.described {
            try self.skipValue()
            try self.skipValue()
        } else if !self.cursor.skipContent(of: code) {
            throw CodecFault(.truncated, at: self.offset)
        }
    }
}
