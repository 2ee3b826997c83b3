// SPDX-License-Identifier: Apache-2.0

/// A position in encoded bytes, used by every reader of AMQP's encoding.
///
/// The cursor reads no byte at or beyond its end. If the bytes end too early, the functions return `nil` or `false`,
/// and the offset stays before the missing bytes. The cursor must not outlive the call that provides the bytes.
///
/// Source: AMQP 1.0 §1.2 and §1.6.
struct ByteCursor {
    private let start: UnsafeRawPointer
    /// The offset of the next byte from the first byte.
    private(set) var offset: Int
    /// The end of the bytes, or of the entered compound value.
    private(set) var end: Int

    /// - Parameter offset: The start of reading. Beyond the end, every read fails.
    @inline(__always)
    init(_ bytes: UnsafeRawBufferPointer, offset: Int = 0) {
        // Empty bytes may have no address; the substitute is never read.
        self.start = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        self.offset = offset
        self.end = bytes.count
    }

    /// The number of bytes from the offset to the end.
    @inline(__always)
    var left: Int { self.end &- self.offset }

    // MARK: Bytes

    /// Returns the next byte without moving past it.
    @inline(__always)
    func peek() -> UInt8? {
        guard self.left >= 1 else { return nil }
        return self.start.load(fromByteOffset: self.offset, as: UInt8.self)
    }

    @inline(__always)
    mutating func byte() -> UInt8? { self.integer(UInt8.self) }

    /// Returns a number of fixed width.
    @inline(__always)
    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) -> T? {
        guard self.left >= MemoryLayout<T>.size else { return nil }
        let value = self.start.loadUnaligned(fromByteOffset: self.offset, as: T.self)
        self.offset &+= MemoryLayout<T>.size
        return T(bigEndian: value)
    }

    /// Returns the next bytes without a copy.
    @inline(__always)
    mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer? {
        guard self.skip(count) else { return nil }
        return UnsafeRawBufferPointer(start: self.start + (self.offset &- count), count: count)
    }

    /// Skips bytes.
    @inline(__always)
    mutating func skip(_ count: Int) -> Bool {
        guard count >= 0, count <= self.left else { return false }
        self.offset &+= count
        return true
    }

    /// Returns a cursor over the same bytes at another offset.
    @inline(__always)
    func moved(to offset: Int) -> ByteCursor {
        assert(offset >= 0)
        var cursor = self
        cursor.offset = offset
        return cursor
    }

    /// Returns the bytes from an earlier offset to this one.
    func passed(from earlier: Int) -> UnsafeRawBufferPointer {
        assert(earlier >= 0 && earlier <= self.offset)
        return UnsafeRawBufferPointer(start: self.start + earlier, count: max(0, self.offset &- earlier))
    }

    // MARK: Values

    /// Returns a size, a length or a count: one byte, or four in a wide form.
    @inline(__always)
    mutating func number(isWide: Bool) -> Int? {
        isWide ? self.integer(UInt32.self).map { Int(clamping: $0) } : self.byte().map { Int($0) }
    }

    /// Returns the content of a binary, a string or a symbol, or of a compound value with its count.
    @inline(__always)
    mutating func sized(isWide: Bool) -> UnsafeRawBufferPointer? {
        guard let count = self.number(isWide: isWide) else { return nil }
        return self.bytes(count)
    }

    /// Skips the head of a list, a map or an array. Returns the end according to its size, which may be beyond the
    /// bytes, and the number of its elements.
    @inline(__always)
    mutating func compound(isWide: Bool) -> (end: Int, count: Int)? {
        guard let size = self.number(isWide: isWide) else { return nil }
        let (end, isBeyond) = self.offset.addingReportingOverflow(size)
        guard let count = self.number(isWide: isWide) else { return nil }
        return (isBeyond ? .max : end, count)
    }

    /// Skips the content after a constructor. Returns `false` for a described value, which has no size, and for
    /// undefined upper four bits.
    @inline(__always)
    mutating func skipContent(of code: UInt8) -> Bool {
        switch code >> 4 {
        case 0x4...0x9: self.skip(Code.minimumWidth(of: code))
        case 0xa, 0xc, 0xe: self.sized(isWide: false) != nil
        case 0xb, 0xd, 0xf: self.sized(isWide: true) != nil
        default: false
        }
    }

    /// The code of the next descriptor if it has the usual form of three bytes; does not move the cursor.
    @inline(__always)
    var usualDescriptor: UInt8? {
        guard self.left >= 3 else { return nil }
        let head = UInt16(bigEndian: self.start.loadUnaligned(fromByteOffset: self.offset, as: UInt16.self))
        guard head == UInt16(Code.described) << 8 | UInt16(Code.smallUlong) else { return nil }
        return self.start.load(fromByteOffset: self.offset &+ 2, as: UInt8.self)
    }

    /// Returns the content of the binary, string or symbol between an earlier offset and this one; `nil` for another
    /// type.
    @inline(__always)
    func passedText(from earlier: Int) -> UnsafeRawBufferPointer? {
        guard earlier < self.offset else { return nil }
        let code = self.start.load(fromByteOffset: earlier, as: UInt8.self)
        let content = earlier &+ (Code.isWide(code) ? 5 : 2)
        guard Code.isText(code), content <= self.offset else { return nil }
        return UnsafeRawBufferPointer(start: self.start + content, count: self.offset &- content)
    }

    /// Returns the content of the binary, string or symbol at an offset, and its constructor in the narrow form; `nil`
    /// for another type.
    func text(at offset: Int) -> (kind: UInt8, bytes: UnsafeRawBufferPointer)? {
        var cursor = self.moved(to: offset)
        guard let code = cursor.byte(), Code.isText(code), let bytes = cursor.sized(isWide: Code.isWide(code)) else {
            return nil
        }
        return (code & ~Code.wide, bytes)
    }

    // MARK: Within a compound value

    /// Moves the end to `size` bytes after the offset. Returns the former end for ``leave(to:)``; `nil` if fewer bytes
    /// are left.
    @inline(__always)
    mutating func enter(_ size: Int) -> Int? {
        guard size >= 0, size <= self.left else { return nil }
        defer { self.end = self.offset &+ size }
        return self.end
    }

    /// Restores the end that ``enter(_:)`` returned.
    @inline(__always)
    mutating func leave(to outerEnd: Int) {
        assert(outerEnd >= self.end)
        self.end = outerEnd
    }
}
