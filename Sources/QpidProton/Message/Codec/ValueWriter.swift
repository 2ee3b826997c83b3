// SPDX-License-Identifier: Apache-2.0

import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A writer of encoded values into existing memory, or into memory of the size from ``EncodedSize``.
///
/// The writer checks every write against the end of the memory, so that an overrun is an error and not a stray write.
struct ValueWriter {
    let bytes: UnsafeMutableRawPointer
    private let capacity: Int
    var offset = 0
    private var depthLeft = AMQPDecodingLimits.highestDepth

    /// Extra room after the estimate, so that one check suffices for any value of fixed width.
    private static let slack = 32

    /// Appends the output of `body` to the buffer, or throws and leaves the buffer unchanged.
    @inline(__always)
    static func write(
        into buffer: inout ByteBuffer,
        bound: (inout EncodedSize) throws(CodecFault) -> Void,
        _ body: (inout ValueWriter) throws(CodecFault) -> Void
    ) throws(AMQPError) {
        do throws(CodecFault) {
            guard buffer.writerIndex <= EncodedSize.maximum else { throw CodecFault(.tooLarge, at: 0) }
            // If the buffer's memory suffices, no estimate is needed.
            if buffer.writableBytes > Self.slack, try self.append(to: &buffer, reserving: 0, body) { return }
            var size = EncodedSize()
            try bound(&size)
            guard size.bytes <= EncodedSize.maximum else { throw CodecFault(.tooLarge, at: 0) }
            guard try self.append(to: &buffer, reserving: Self.room(for: size.bytes), body) else {
                throw CodecFault(.outOfRoom, at: 0)
            }
        } catch {
            throw error.encodingError
        }
    }

    /// Appends to the buffer. Returns `false`, and leaves the buffer unchanged, if the memory is too small.
    @inline(__always)
    private static func append(
        to buffer: inout ByteBuffer,
        reserving bytes: Int,
        _ body: (inout ValueWriter) throws(CodecFault) -> Void
    ) throws(CodecFault) -> Bool {
        if bytes > 0 { buffer.reserveCapacity(minimumWritableBytes: bytes) }
        let start = buffer.writerIndex
        // This call provides the whole memory of the buffer, for which NIO creates no slice.
        let count = try buffer.withVeryUnsafeMutableBytes { (memory) throws(CodecFault) in
            let front = memory.baseAddress.map { $0 + start }
            return try self.write(to: UnsafeMutableRawBufferPointer(start: front, count: memory.count &- start), body)
        }
        guard let count else { return false }
        buffer.moveWriterIndex(forwardBy: count)
        return true
    }

    /// Returns the memory that ``write(to:_:)`` needs for at most `bound` bytes.
    static func room(for bound: Int) -> Int { bound + Self.slack }

    /// Writes to the start of the memory and returns the number of bytes; `nil` if the memory is too small.
    @inline(__always)
    static func write(
        to memory: UnsafeMutableRawBufferPointer,
        _ body: (inout ValueWriter) throws(CodecFault) -> Void
    ) throws(CodecFault) -> Int? {
        guard let base = memory.baseAddress else { return nil }
        // Output beyond the cap runs out of room, and then the estimate refuses it.
        var writer = ValueWriter(base, min(memory.count, EncodedSize.maximum))
        do throws(CodecFault) {
            try body(&writer)
            return writer.offset
        } catch {
            guard error.kind == .outOfRoom else { throw error }
            return nil
        }
    }

    private init(_ bytes: UnsafeMutableRawPointer, _ capacity: Int) {
        self.bytes = bytes
        self.capacity = capacity
    }

    @inline(__always)
    mutating func descend(_ levels: Int = 1) throws(CodecFault) {
        guard self.depthLeft >= levels else { throw CodecFault(.tooDeep, at: self.offset) }
        self.depthLeft &-= levels
    }

    @inline(__always)
    mutating func ascend(_ levels: Int = 1) {
        self.depthLeft &+= levels
    }

    // MARK: Bytes

    @inline(__always)
    func room(_ count: Int) throws(CodecFault) {
        guard self.capacity &- self.offset >= count else { throw CodecFault(.outOfRoom, at: self.offset) }
    }

    /// Writes a number without a check, because the caller has checked the room.
    @inline(__always)
    mutating func put<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        self.bytes.storeBytes(of: value.bigEndian, toByteOffset: self.offset, as: T.self)
        self.offset &+= MemoryLayout<T>.size
    }

    @inline(__always)
    private mutating func put<T: FixedWidthInteger & BitwiseCopyable>(_ code: UInt8, _ value: T) {
        self.put(code)
        self.put(value)
    }

    /// Writes the constructor, length and bytes, in the narrow form up to 255 bytes. Returns `false` without room.
    @inline(__always)
    private mutating func put(_ code: UInt8, _ source: UnsafeRawBufferPointer) -> Bool {
        guard self.capacity &- self.offset >= 5 &+ source.count else { return false }
        if source.count <= 255 {
            self.put(code, UInt8(truncatingIfNeeded: source.count))
        } else {
            self.put(code | Code.wide, UInt32(truncatingIfNeeded: source.count))
        }
        self.copy(source)
        return true
    }

    /// Writes bytes without a check, because the caller has checked the room.
    @inline(__always)
    mutating func copy(_ source: UnsafeRawBufferPointer) {
        let count = source.count
        guard count > 0, let base = source.baseAddress else { return }
        let target = self.bytes + self.offset
        self.offset &+= count
        // Most texts are short, and two overlapping loads are faster than a call.
        if count >= 8 {
            if count <= 16 {
                Self.copyEnds(UInt64.self, base, target, count)
            } else if count <= 32 {
                Self.copyEnds(SIMD2<UInt64>.self, base, target, count)
            } else {
                target.copyMemory(from: base, byteCount: count)
            }
        } else if count >= 4 {
            Self.copyEnds(UInt32.self, base, target, count)
        } else if count >= 2 {
            Self.copyEnds(UInt16.self, base, target, count)
        } else {
            target.storeBytes(of: base.load(as: UInt8.self), as: UInt8.self)
        }
    }

    @inline(__always)
    private static func copyEnds<T: BitwiseCopyable>(
        _ type: T.Type,
        _ source: UnsafeRawPointer,
        _ target: UnsafeMutableRawPointer,
        _ count: Int
    ) {
        let lastOffset = count &- MemoryLayout<T>.size
        let first = source.loadUnaligned(as: T.self)
        let last = source.loadUnaligned(fromByteOffset: lastOffset, as: T.self)
        target.storeBytes(of: first, as: T.self)
        target.storeBytes(of: last, toByteOffset: lastOffset, as: T.self)
    }

    @inline(__always)
    mutating func string(_ text: String) throws(CodecFault) {
        try self.text(Code.string8, text)
    }

    @inline(__always)
    mutating func symbol(_ symbol: AMQPSymbol) throws(CodecFault) {
        let start = self.offset
        try self.text(Code.symbol8, symbol.rawValue)
        // The check reads the output, because reading the symbol again would retain its text.
        let isNarrow = self.bytes.load(fromByteOffset: start, as: UInt8.self) == Code.symbol8
        let front = start &+ (isNarrow ? 2 : 5)
        guard UnsafeRawBufferPointer(start: self.bytes + front, count: self.offset &- front).isASCII else {
            throw CodecFault(.nonASCIISymbol, at: self.offset)
        }
    }

    @inline(__always)
    private mutating func text(_ code: UInt8, _ text: String) throws(CodecFault) {
        let fits = text.utf8.withContiguousStorageIfAvailable { self.put(code, UnsafeRawBufferPointer($0)) }
        if fits == nil { self.offset = try Self.bridged(self, code, text) }
        guard fits != false else { throw CodecFault(.outOfRoom, at: self.offset) }
    }

    /// Writes a Foundation string, whose bytes are not contiguous. Returns the offset after it.
    @inline(never)
    private static func bridged(_ writer: ValueWriter, _ code: UInt8, _ text: String) throws(CodecFault) -> Int {
        var text = text
        var writer = writer
        guard text.withUTF8({ writer.put(code, UnsafeRawBufferPointer($0)) }) else {
            throw CodecFault(.outOfRoom, at: writer.offset)
        }
        return writer.offset
    }

    @inline(__always)
    mutating func binary(_ binary: ByteBuffer) throws(CodecFault) {
        guard binary.withUnsafeReadableBytes({ self.put(Code.binary8, $0) }) else {
            throw CodecFault(.outOfRoom, at: self.offset)
        }
    }

    // MARK: Values

    /// Writes one value with its constructor, in the smallest form.
    mutating func value(_ value: AMQPValue) throws(CodecFault) {
        try withUnsafePointer(to: value) { (pointer) throws(CodecFault) in try self.value(pointer) }
    }

    /// Writes one value. Values are passed by pointer, because arguments of a recursive function would be retained and
    /// released.
    mutating func value(_ value: UnsafePointer<AMQPValue>) throws(CodecFault) {
        if try !self.plain(value) { try self.other(value) }
    }

    /// Writes a number, a boolean or a string without a call. Returns `false` for another value, and writes nothing.
    @inline(__always)
    private mutating func plain(_ value: UnsafePointer<AMQPValue>) throws(CodecFault) -> Bool {
        try self.room(17)
        switch value.pointee {
        case .string(let text): try self.string(text)
        case .null: self.put(Code.null)
        case .bool(let value): self.put(value ? Code.true : Code.false)
        case .ubyte(let value): self.put(Code.ubyte, value)
        case .ushort(let value): self.put(Code.ushort, value)
        case .uint(let value): self.uint(value)
        case .ulong(let value): self.ulong(value)
        case .byte(let value): self.put(Code.byte, value)
        case .short(let value): self.put(Code.short, value)
        case .int(let value):
            if let small = Int8(exactly: value) { self.put(Code.smallInt, small) } else { self.put(Code.int, value) }
        case .long(let value):
            if let small = Int8(exactly: value) { self.put(Code.smallLong, small) } else { self.put(Code.long, value) }
        case .float(let value): self.put(Code.float, value.bitPattern)
        case .double(let value): self.put(Code.double, value.bitPattern)
        case .decimal32(let value): self.put(Code.decimal32, value.bitPattern)
        case .decimal64(let value): self.put(Code.decimal64, value.bitPattern)
        case .decimal128(let value):
            self.put(Code.decimal128, value.high)
            self.put(value.low)
        case .char(let value): self.put(Code.char, value.value)
        case .timestamp(let value): self.put(Code.timestamp, value.millisecondsSinceEpoch)
        case .uuid(let value): self.uuid(value)
        case .symbol, .binary, .list, .map, .array, .described: return false
        }
        return true
    }

    @inline(never)
    private mutating func other(_ value: UnsafePointer<AMQPValue>) throws(CodecFault) {
        switch value.pointee {
        case .symbol(let symbol): try self.symbol(symbol)
        case .binary(let bytes): try self.binary(bytes)
        case .list(let elements): try self.list(elements)
        case .map(let map): try self.map(map)
        case .array(let array): try self.array(array)
        case .described(let described):
            try self.descend()
            self.put(Code.described)
            try self.value(described.descriptor)
            try self.value(described.value)
            self.ascend()
        default: break
        }
    }

    @inline(__always)
    mutating func uint(_ value: UInt32) {
        if value == 0 {
            self.put(Code.uint0)
        } else if value <= 255 {
            self.put(Code.smallUint, UInt8(truncatingIfNeeded: value))
        } else {
            self.put(Code.uint, value)
        }
    }

    @inline(__always)
    mutating func ulong(_ value: UInt64) {
        if value == 0 {
            self.put(Code.ulong0)
        } else if value <= 255 {
            self.put(Code.smallUlong, UInt8(truncatingIfNeeded: value))
        } else {
            self.put(Code.ulong, value)
        }
    }

    @inline(__always)
    mutating func timestamp(_ value: AMQPTimestamp) {
        self.put(Code.timestamp, value.millisecondsSinceEpoch)
    }

    @inline(__always)
    mutating func uuid(_ value: UUID) {
        self.put(Code.uuid)
        self.uuidBytes(value)
    }

    @inline(__always)
    mutating func uuidBytes(_ value: UUID) {
        self.bytes.storeBytes(of: value.uuid, toByteOffset: self.offset, as: uuid_t.self)
        self.offset &+= 16
    }

    // MARK: Compound values

    /// A compound value that is being written, whose size is still unknown.
    struct Opening {
        /// The place of the constructor.
        let start: Int
        /// Whether the reserved bytes suffice for the wide form.
        let isWide: Bool
    }

    /// Reserves the bytes of the constructor, the size and the count, in the wide form if the number of elements
    /// suggests it.
    @inline(__always)
    mutating func open(count: Int) throws(CodecFault) -> Opening {
        try self.room(9)
        let opening = Opening(start: self.offset, isWide: count > 32)
        self.offset &+= opening.isWide ? 9 : 3
        return opening
    }

    /// Writes the constructor, the size and the count. Moves the elements if the other form is correct.
    @inline(__always)
    mutating func close(_ opening: Opening, _ code: UInt8, count: Int) throws(CodecFault) {
        let bodyStart = opening.start &+ (opening.isWide ? 9 : 3)
        let bodySize = self.offset &- bodyStart
        let isWide = bodySize > 254 || count > 255
        if isWide != opening.isWide {
            try self.move(from: bodyStart, by: isWide ? 6 : -6)
        }
        let end = self.offset
        self.offset = opening.start
        if isWide {
            self.put(code | Code.wide, UInt32(truncatingIfNeeded: bodySize &+ 4))
            self.put(UInt32(truncatingIfNeeded: count))
        } else {
            self.put(code, UInt8(truncatingIfNeeded: bodySize &+ 1))
            self.put(UInt8(truncatingIfNeeded: count))
        }
        self.offset = end
    }

    /// Moves the bytes from an offset to the end.
    private mutating func move(from start: Int, by distance: Int) throws(CodecFault) {
        try self.room(max(distance, 0))
        let source = self.bytes + start
        (source + distance).copyMemory(from: source, byteCount: self.offset &- start)
        self.offset &+= distance
    }

    mutating func list(_ elements: [AMQPValue]) throws(CodecFault) {
        guard !elements.isEmpty else {
            try self.room(1)
            self.put(Code.list0)
            // An empty list counts as a level too: this call only checks the depth.
            return try self.values(elements)
        }
        let opening = try self.open(count: elements.count)
        try self.values(elements)
        try self.close(opening, Code.list8, count: elements.count)
    }

    mutating func map(_ map: AMQPMap) throws(CodecFault) {
        let values = map.flat
        let opening = try self.open(count: values.count)
        try self.values(values)
        try self.close(opening, Code.map8, count: values.count)
    }

    /// Writes the elements of a list, or the keys and values of a map.
    @inline(__always)
    mutating func values(_ values: [AMQPValue]) throws(CodecFault) {
        try self.descend()
        try values.withUnsafeBufferPointer { (values) throws(CodecFault) in
            guard let first = values.baseAddress else { return }
            var index = try self.plainFront(first, values.count)
            while index < values.count {
                try self.other(first + index)
                index &+= 1
                index &+= try self.plainFront(first + index, values.count &- index)
            }
        }
        self.ascend()
    }

    /// Writes the values before the first value that needs a call. Returns their number.
    ///
    /// The function cannot change the values, so the compiler retains none of them.
    @inline(never)
    private mutating func plainFront(_ values: UnsafePointer<AMQPValue>, _ count: Int) throws(CodecFault) -> Int {
        // A copy of the writer without a pointer to it stays in registers.
        var writer = self
        var index = 0
        while index < count, try writer.plain(values + index) { index &+= 1 }
        self.offset = writer.offset
        return index
    }
}
