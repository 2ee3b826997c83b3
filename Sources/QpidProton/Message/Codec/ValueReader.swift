// SPDX-License-Identifier: Apache-2.0

import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A reader that creates values and messages from encoded bytes, used only within `ByteBuffer.withUnsafeReadableBytes`.
///
/// The end of the cursor is the end of the innermost compound value, so that no element reaches beyond its list.
struct ValueReader {
    var cursor: ByteCursor
    /// The buffer of the bytes, for slices that share its memory.
    let buffer: UnsafePointer<ByteBuffer>
    var depthLeft: Int
    private var elementsLeft: Int
    /// Whether ``passValue()`` has already checked all bytes.
    let isPassed: Bool
    /// Whether a message must follow every rule of AMQP 1.0 §3.2.
    let isStrict: Bool

    /// Returns the value at the start of the readable bytes, and the number of its bytes.
    static func value(
        _ buffer: ByteBuffer,
        _ limits: AMQPDecodingLimits
    ) throws(AMQPError) -> (value: AMQPValue, length: Int) {
        try Self.read(buffer, limits) { (reader) throws(CodecFault) in (try reader.value(), reader.offset) }
    }

    /// Returns the message in the readable bytes.
    static func message(_ buffer: ByteBuffer, _ limits: AMQPDecodingLimits) throws(AMQPError) -> AMQPMessage {
        try Self.read(buffer, limits) { (reader) throws(CodecFault) in
            var fault: CodecFault?
            // The message is read in place and moved once, because each copy of a message changes reference counts.
            let message = withUnsafeTemporaryAllocation(of: AMQPMessage.self, capacity: 1) { place in
                place.initializeElement(at: 0, to: AMQPMessage())
                do throws(CodecFault) {
                    try reader.message(into: &place[0])
                } catch {
                    fault = error
                }
                return place.moveElement(from: 0)
            }
            if let fault { throw fault }
            return message
        }
    }

    @inline(__always)
    private static func read<T>(
        _ buffer: ByteBuffer,
        _ limits: AMQPDecodingLimits,
        _ body: (inout ValueReader) throws(CodecFault) -> T
    ) throws(AMQPError) -> T {
        let result: Result<T, CodecFault> = withUnsafePointer(to: buffer) { pointer in
            buffer.withUnsafeReadableBytes { bytes in
                var reader = ValueReader(ByteCursor(bytes), pointer, limits)
                do throws(CodecFault) {
                    return .success(try body(&reader))
                } catch {
                    return .failure(error)
                }
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let fault): throw fault.decodingError
        }
    }

    private init(_ cursor: ByteCursor, _ buffer: UnsafePointer<ByteBuffer>, _ limits: AMQPDecodingLimits) {
        self.cursor = cursor
        self.buffer = buffer
        self.depthLeft = min(max(limits.maximumDepth, 0), AMQPDecodingLimits.highestDepth)
        self.elementsLeft = max(limits.maximumElements, 0)
        self.isPassed = false
        self.isStrict = limits.isStrict
    }

    /// Reads skipped bytes from an offset.
    init(passed cursor: ByteCursor, _ buffer: UnsafePointer<ByteBuffer>) {
        self.cursor = cursor
        self.buffer = buffer
        self.depthLeft = AMQPDecodingLimits.highestDepth
        self.elementsLeft = .max
        self.isPassed = true
        self.isStrict = false
    }

    // MARK: Bytes

    @inline(__always)
    var offset: Int { self.cursor.offset }

    @inline(__always)
    var isAtEnd: Bool { self.cursor.left == 0 }

    /// Returns the fault for `count` required bytes of which some are missing.
    @inline(__always)
    private func truncated(_ count: Int) -> CodecFault {
        CodecFault(.truncated, at: self.cursor.end, count - self.cursor.left)
    }

    /// Checks that `count` bytes are left.
    @inline(__always)
    private func need(_ count: Int) throws(CodecFault) {
        guard self.cursor.left >= count else { throw self.truncated(count) }
    }

    @inline(__always)
    mutating func fixed<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(CodecFault) -> T {
        guard let value = self.cursor.integer(type) else { throw self.truncated(MemoryLayout<T>.size) }
        return value
    }

    /// Returns the next byte without moving past it.
    @inline(__always)
    func peek() throws(CodecFault) -> UInt8 {
        guard let byte = self.cursor.peek() else { throw self.truncated(1) }
        return byte
    }

    /// Skips bytes.
    @inline(__always)
    mutating func skip(_ count: Int) throws(CodecFault) {
        guard self.cursor.skip(count) else { throw self.truncated(count) }
    }

    /// Returns a size or a count.
    @inline(__always)
    private mutating func number(wide: Bool) throws(CodecFault) -> Int {
        guard let number = self.cursor.number(isWide: wide) else { throw self.truncated(wide ? 4 : 1) }
        return number
    }

    /// Returns the content of a binary, a string or a symbol.
    @inline(__always)
    mutating func sized(wide: Bool) throws(CodecFault) -> UnsafeRawBufferPointer {
        let count = try self.number(wide: wide)
        guard let bytes = self.cursor.bytes(count) else { throw self.truncated(count) }
        return bytes
    }

    // MARK: Values

    /// Returns one value with its constructor.
    mutating func value() throws(CodecFault) -> AMQPValue {
        let code = try self.fixed(UInt8.self)
        return try self.value(code, at: self.offset &- 1)
    }

    /// Returns one value after its constructor at an offset.
    mutating func value(_ code: UInt8, at start: Int) throws(CodecFault) -> AMQPValue {
        switch code {
        case Code.string8, Code.string32: return .string(try self.string(wide: code == Code.string32))
        case Code.symbol8, Code.symbol32: return .symbol(try self.symbol(wide: code == Code.symbol32))
        case Code.binary8, Code.binary32: return .binary(try self.binary(wide: code == Code.binary32))
        case Code.null: return .null
        case Code.true: return .bool(true)
        case Code.false: return .bool(false)
        case Code.bool: return .bool(try self.boolean())
        case Code.ubyte: return .ubyte(try self.fixed(UInt8.self))
        case Code.ushort: return .ushort(try self.fixed(UInt16.self))
        case Code.uint0: return .uint(0)
        case Code.smallUint: return .uint(UInt32(try self.fixed(UInt8.self)))
        case Code.uint: return .uint(try self.fixed(UInt32.self))
        case Code.ulong0: return .ulong(0)
        case Code.smallUlong: return .ulong(UInt64(try self.fixed(UInt8.self)))
        case Code.ulong: return .ulong(try self.fixed(UInt64.self))
        case Code.byte: return .byte(try self.fixed(Int8.self))
        case Code.short: return .short(try self.fixed(Int16.self))
        case Code.smallInt: return .int(Int32(try self.fixed(Int8.self)))
        case Code.int: return .int(try self.fixed(Int32.self))
        case Code.smallLong: return .long(Int64(try self.fixed(Int8.self)))
        case Code.long: return .long(try self.fixed(Int64.self))
        case Code.float: return .float(Float(bitPattern: try self.fixed(UInt32.self)))
        case Code.double: return .double(Double(bitPattern: try self.fixed(UInt64.self)))
        case Code.decimal32: return .decimal32(AMQPDecimal32(bitPattern: try self.fixed(UInt32.self)))
        case Code.decimal64: return .decimal64(AMQPDecimal64(bitPattern: try self.fixed(UInt64.self)))
        case Code.decimal128:
            try self.need(16)
            let high = try self.fixed(UInt64.self)
            return .decimal128(AMQPDecimal128(high: high, low: try self.fixed(UInt64.self)))
        case Code.char: return .char(try self.scalar())
        case Code.timestamp: return .timestamp(AMQPTimestamp(millisecondsSinceEpoch: try self.fixed(Int64.self)))
        case Code.uuid: return .uuid(try self.uuid())
        case Code.list0: return .list([])
        case Code.list8, Code.list32: return .list(try self.list(wide: code == Code.list32))
        case Code.map8, Code.map32: return .map(try self.map(wide: code == Code.map32))
        case Code.array8, Code.array32: return .array(try self.array(wide: code == Code.array32))
        case Code.described:
            try self.descend()
            try self.charge(1)
            let descriptor = try self.value()
            let value = try self.value()
            self.depthLeft &+= 1
            return .described(AMQPDescribed(descriptor: descriptor, value: value))
        default: throw CodecFault(.unknownConstructor, at: start, Int(code))
        }
    }

    mutating func boolean() throws(CodecFault) -> Bool {
        let byte = try self.fixed(UInt8.self)
        guard byte <= 1 else { throw CodecFault(.invalidBoolean, at: self.offset &- 1, Int(byte)) }
        return byte == 1
    }

    mutating func scalar() throws(CodecFault) -> Unicode.Scalar {
        let bits = try self.fixed(UInt32.self)
        guard let scalar = Unicode.Scalar(bits) else {
            throw CodecFault(.invalidScalar, at: self.offset &- 4, Int(clamping: bits))
        }
        return scalar
    }

    mutating func uuid() throws(CodecFault) -> UUID {
        guard let bytes = self.cursor.bytes(16) else { throw self.truncated(16) }
        return UUID(uuid: bytes.loadUnaligned(as: uuid_t.self))
    }

    @inline(__always)
    mutating func binary(wide: Bool) throws(CodecFault) -> ByteBuffer {
        let count = try self.sized(wide: wide).count
        return self.slice(from: self.offset &- count, to: self.offset)
    }

    /// Returns skipped bytes in the buffer's memory.
    @inline(__always)
    func slice(from start: Int, to end: Int) -> ByteBuffer {
        // The range is within the readable bytes, so the empty buffer is never used.
        self.buffer.pointee.getSlice(at: self.buffer.pointee.readerIndex &+ start, length: end &- start) ?? ByteBuffer()
    }

    @inline(__always)
    mutating func string(wide: Bool) throws(CodecFault) -> String {
        let text = try self.sized(wide: wide)
        if text.isASCII { return text.asciiString }
        let string = String(decoding: text, as: UTF8.self)
        // A replaced byte means invalid UTF-8. `String(validating:as:)` would cost three times as much.
        guard string.utf8.elementsEqual(text) else {
            throw self.fault(.invalidUTF8, at: text.validUTF8Prefix, in: text)
        }
        return string
    }

    @inline(__always)
    mutating func symbol(wide: Bool) throws(CodecFault) -> AMQPSymbol {
        let text = try self.sized(wide: wide)
        try self.checkSymbol(text)
        return AMQPSymbol(rawValue: text.asciiString)
    }

    /// Checks that the text before the offset is ASCII.
    @inline(__always)
    func checkSymbol(_ text: UnsafeRawBufferPointer) throws(CodecFault) {
        guard text.isASCII else {
            throw self.fault(.nonASCIISymbol, at: text.firstIndex { $0 >= 0x80 } ?? 0, in: text)
        }
    }

    /// Returns the fault at a position in the text before the offset.
    @inline(__always)
    func fault(_ kind: CodecFault.Kind, at place: Int, in text: UnsafeRawBufferPointer) -> CodecFault {
        CodecFault(kind, at: self.offset &- text.count &+ place)
    }

    // MARK: Compound values

    @inline(__always)
    mutating func descend() throws(CodecFault) {
        guard self.depthLeft > 0 else { throw CodecFault(.tooDeep, at: self.offset &- 1) }
        self.depthLeft &-= 1
    }

    /// Charges elements to the budget before their memory is allocated.
    @inline(__always)
    mutating func charge(_ count: Int) throws(CodecFault) {
        guard count <= self.elementsLeft else { throw CodecFault(.tooManyElements, at: self.offset) }
        self.elementsLeft &-= count
    }

    /// Reads the size and the count, and enters the compound value. Returns the count and the former end.
    @inline(__always)
    mutating func enter(wide: Bool) throws(CodecFault) -> (count: Int, outerEnd: Int) {
        try self.descend()
        let size = try self.number(wide: wide)
        guard let outerEnd = self.cursor.enter(size) else { throw self.truncated(size) }
        guard size >= (wide ? 4 : 1) else {
            throw CodecFault(.sizeTooSmall, at: self.offset &- (wide ? 4 : 1), size)
        }
        return (try self.number(wide: wide), outerEnd)
    }

    @inline(__always)
    mutating func leave(to outerEnd: Int) throws(CodecFault) {
        guard self.isAtEnd else { throw CodecFault(.bytesLeft, at: self.offset, self.cursor.left) }
        self.cursor.leave(to: outerEnd)
        self.depthLeft &+= 1
    }

    /// Checks that `count` elements of at least `width` bytes fit into the rest, and charges them to the budget.
    @inline(__always)
    mutating func admit(_ count: Int, width: Int, countWidth: Int) throws(CodecFault) {
        if width > 0, count > self.cursor.left / width {
            throw CodecFault(.countTooLarge, at: self.offset &- countWidth, count)
        }
        try self.charge(count)
    }

    /// Reads `count` values directly into an array, without the checks of `append`.
    @inline(__always)
    mutating func elements(_ count: Int) throws(CodecFault) -> [AMQPValue] {
        try self.elements(count) { (reader) throws(CodecFault) in try reader.value() }
    }

    @inline(__always)
    private mutating func elements(
        _ count: Int,
        _ next: (inout ValueReader) throws(CodecFault) -> AMQPValue
    ) throws(CodecFault) -> [AMQPValue] {
        guard count > 0 else { return [] }
        var fault: CodecFault?
        let elements = [AMQPValue](unsafeUninitializedCapacity: count) { storage, initialized in
            guard let base = storage.baseAddress else { return }
            do throws(CodecFault) {
                while initialized < count {
                    (base + initialized).initialize(to: try next(&self))
                    initialized &+= 1
                }
            } catch {
                fault = error
            }
        }
        if let fault { throw fault }
        return elements
    }

    mutating func list(wide: Bool) throws(CodecFault) -> [AMQPValue] {
        let (count, outerEnd) = try self.enter(wide: wide)
        try self.admit(count, width: 1, countWidth: wide ? 4 : 1)
        let elements = try self.elements(count)
        try self.leave(to: outerEnd)
        return elements
    }

    /// Checks a map and returns it in its received form. Each access creates the values again.
    mutating func map(wide: Bool) throws(CodecFault) -> AMQPMap {
        let start = self.offset
        let count = self.isPassed ? try self.skipMap(wide: wide) : try self.passMap(wide: wide)
        guard count > 0 else { return AMQPMap() }
        let pairs = start &+ (wide ? 8 : 2)
        return AMQPMap(EncodedMap(self.slice(from: pairs, to: self.offset), count: count))
    }

    /// Enters a list section. Returns the number of its fields, and the former end for ``leaveFields(to:)``.
    mutating func enterFields(wide: Bool, maximum: Int) throws(CodecFault) -> (count: Int, outerEnd: Int) {
        let (count, outerEnd) = try self.enter(wide: wide)
        guard count <= maximum else { throw CodecFault(.tooManyFields, at: self.offset &- (wide ? 4 : 1), count) }
        return (count, outerEnd)
    }

    mutating func leaveFields(to outerEnd: Int) throws(CodecFault) {
        try self.leave(to: outerEnd)
    }

    mutating func array(wide: Bool) throws(CodecFault) -> AMQPArray {
        let (count, outerEnd) = try self.enter(wide: wide)
        let countOffset = self.offset &- (wide ? 4 : 1)
        var descriptors: [AMQPValue] = []
        var start = self.offset
        var code = try self.fixed(UInt8.self)
        while code == Code.described {
            try self.descend()
            try self.charge(1)
            descriptors.append(try self.value())
            start = self.offset
            code = try self.fixed(UInt8.self)
        }
        guard let type = Code.type(of: code) else { throw CodecFault(.unknownConstructor, at: start, Int(code)) }
        try self.admit(count, width: Code.minimumWidth(of: code), countWidth: self.offset &- countOffset)
        if !descriptors.isEmpty {
            // Each described element counts once per descriptor.
            let (places, overflow) = count.multipliedReportingOverflow(by: descriptors.count)
            guard !overflow else { throw CodecFault(.tooManyElements, at: self.offset) }
            try self.charge(places)
        }
        let elements = try self.elements(count) { (reader) throws(CodecFault) in
            var element = try reader.value(code, at: start)
            for descriptor in descriptors.reversed() {
                element = .described(AMQPDescribed(descriptor: descriptor, value: element))
            }
            return element
        }
        self.depthLeft &+= descriptors.count
        try self.leave(to: outerEnd)
        return AMQPArray(uniform: elements, type: type, descriptors: descriptors)
    }
}
