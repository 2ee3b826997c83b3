import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A cursor over encoded bytes. It is used within `ByteBuffer.withUnsafeReadableBytes` alone.
///
/// Every read is checked against `end`, which is the end of the innermost compound value, so that an element cannot
/// reach beyond the size its list claims.
struct ValueReader {
    let bytes: UnsafeRawPointer
    /// The buffer the bytes are in, for slices that share its memory.
    let buffer: UnsafePointer<ByteBuffer>
    private(set) var offset: Int
    private(set) var end: Int
    var depthLeft: Int
    private var elementsLeft: Int
    /// Whether all has been passed over before, with the checks of ``passValue()``.
    let isPassed: Bool
    /// Whether a message must keep every rule of AMQP 1.0 §3.2.
    let isStrict: Bool

    /// The value that the readable bytes begin with, and how many of them it takes.
    static func value(
        _ buffer: ByteBuffer,
        _ limits: AMQPDecodingLimits
    ) throws(AMQPError) -> (value: AMQPValue, length: Int) {
        try Self.read(buffer, limits) { (reader) throws(CodecFault) in (try reader.value(), reader.offset) }
    }

    /// The message that the readable bytes are.
    static func message(_ buffer: ByteBuffer, _ limits: AMQPDecodingLimits) throws(AMQPError) -> AMQPMessage {
        try Self.read(buffer, limits) { (reader) throws(CodecFault) in
            var fault: CodecFault?
            // Read into one place and moved from there: each copy of a message counts its references.
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
                guard let base = bytes.baseAddress else { return .failure(CodecFault(.truncated, at: 0, 1)) }
                var reader = ValueReader(base, bytes.count, pointer, limits)
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

    private init(
        _ bytes: UnsafeRawPointer,
        _ count: Int,
        _ buffer: UnsafePointer<ByteBuffer>,
        _ limits: AMQPDecodingLimits
    ) {
        self.bytes = bytes
        self.buffer = buffer
        self.offset = 0
        self.end = count
        self.depthLeft = min(max(limits.maximumDepth, 0), AMQPDecodingLimits.highestDepth)
        self.elementsLeft = max(limits.maximumElements, 0)
        self.isPassed = false
        self.isStrict = limits.isStrict
    }

    /// Reads what has been passed over before, from an offset on.
    init(passed bytes: UnsafeRawBufferPointer, from offset: Int, _ buffer: UnsafePointer<ByteBuffer>) {
        self.bytes = UnsafeRawPointer(bytes.baseAddress ?? UnsafeRawPointer(buffer))
        self.buffer = buffer
        self.offset = offset
        self.end = bytes.count
        self.depthLeft = AMQPDecodingLimits.highestDepth
        self.elementsLeft = .max
        self.isPassed = true
        self.isStrict = false
    }

    // MARK: Bytes

    @inline(__always)
    var isAtEnd: Bool { self.offset == self.end }

    /// Makes sure that `count` bytes are left.
    @inline(__always)
    func need(_ count: Int) throws(CodecFault) {
        guard self.end - self.offset >= count else {
            throw CodecFault(.truncated, at: self.end, count - (self.end - self.offset))
        }
    }

    @inline(__always)
    mutating func fixed<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(CodecFault) -> T {
        try self.need(MemoryLayout<T>.size)
        let value = self.bytes.loadUnaligned(fromByteOffset: self.offset, as: T.self)
        self.offset &+= MemoryLayout<T>.size
        return T(bigEndian: value)
    }

    /// The next byte, which is left where it is.
    @inline(__always)
    func peek() throws(CodecFault) -> UInt8 {
        try self.need(1)
        return self.bytes.load(fromByteOffset: self.offset, as: UInt8.self)
    }

    /// The number of the section that begins here, if its descriptor has the usual form, which is then passed over.
    @inline(__always)
    mutating func usualSection() -> UInt8? {
        guard self.end - self.offset >= 3 else { return nil }
        let head = self.bytes.loadUnaligned(fromByteOffset: self.offset, as: UInt16.self)
        guard UInt16(bigEndian: head) == UInt16(Code.described) << 8 | UInt16(Code.smallUlong) else { return nil }
        let section = self.bytes.load(fromByteOffset: self.offset &+ 2, as: UInt8.self)
        guard section >= Section.header, section <= Section.footer else { return nil }
        self.offset &+= 3
        return section
    }

    @inline(__always)
    mutating func skip(_ count: Int) {
        self.offset &+= count
    }

    @inline(__always)
    mutating func length(wide: Bool) throws(CodecFault) -> Int {
        let length = wide ? Int(clamping: try self.fixed(UInt32.self)) : Int(try self.fixed(UInt8.self))
        try self.need(length)
        return length
    }

    // MARK: Values

    /// One value with its constructor.
    mutating func value() throws(CodecFault) -> AMQPValue {
        let code = try self.fixed(UInt8.self)
        return try self.value(code, at: self.offset &- 1)
    }

    /// One value whose constructor, at an offset, has been read.
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
        try self.need(16)
        let uuid = UUID(uuid: self.bytes.loadUnaligned(fromByteOffset: self.offset, as: uuid_t.self))
        self.offset &+= 16
        return uuid
    }

    @inline(__always)
    mutating func binary(wide: Bool) throws(CodecFault) -> ByteBuffer {
        let length = try self.length(wide: wide)
        let start = self.offset
        self.offset &+= length
        return self.slice(from: start, to: self.offset)
    }

    /// Bytes that have been passed over, in the buffer's memory.
    @inline(__always)
    func slice(from start: Int, to end: Int) -> ByteBuffer {
        // It is within the readable bytes: the empty buffer is never taken.
        self.buffer.pointee.getSlice(at: self.buffer.pointee.readerIndex &+ start, length: end &- start) ?? ByteBuffer()
    }

    @inline(__always)
    mutating func string(wide: Bool) throws(CodecFault) -> String {
        let length = try self.length(wide: wide)
        let text = UnsafeRawBufferPointer(start: self.bytes + self.offset, count: length)
        if text.isASCII {
            self.offset &+= length
            return text.asciiString
        }
        let string = String(decoding: text, as: UTF8.self)
        // Bytes that are not UTF-8 have been replaced; `init(validating:)` costs three times as much.
        guard string.utf8.elementsEqual(text) else {
            throw CodecFault(.invalidUTF8, at: self.offset &+ text.validUTF8Prefix)
        }
        self.offset &+= length
        return string
    }

    @inline(__always)
    mutating func symbol(wide: Bool) throws(CodecFault) -> AMQPSymbol {
        let length = try self.length(wide: wide)
        let text = UnsafeRawBufferPointer(start: self.bytes + self.offset, count: length)
        try self.checkSymbol(text)
        self.offset &+= length
        return AMQPSymbol(rawValue: text.asciiString)
    }

    /// Makes sure that text which begins at the offset is ASCII.
    @inline(__always)
    func checkSymbol(_ text: UnsafeRawBufferPointer) throws(CodecFault) {
        guard text.isASCII else {
            throw CodecFault(.nonASCIISymbol, at: self.offset &+ (text.firstIndex { $0 >= 0x80 } ?? 0))
        }
    }

    // MARK: Compound values

    @inline(__always)
    mutating func descend() throws(CodecFault) {
        guard self.depthLeft > 0 else { throw CodecFault(.tooDeep, at: self.offset &- 1) }
        self.depthLeft &-= 1
    }

    /// Takes elements from the budget before memory is taken for them.
    @inline(__always)
    mutating func charge(_ count: Int) throws(CodecFault) {
        guard count <= self.elementsLeft else { throw CodecFault(.tooManyElements, at: self.offset) }
        self.elementsLeft &-= count
    }

    /// Reads size and count and narrows `end` to the compound value; gives the count and the former end.
    @inline(__always)
    mutating func enter(wide: Bool) throws(CodecFault) -> (count: Int, outerEnd: Int) {
        try self.descend()
        let size = try self.length(wide: wide)
        guard size >= (wide ? 4 : 1) else {
            throw CodecFault(.sizeTooSmall, at: self.offset &- (wide ? 4 : 1), size)
        }
        let outerEnd = self.end
        self.end = self.offset &+ size
        let count = wide ? Int(clamping: try self.fixed(UInt32.self)) : Int(try self.fixed(UInt8.self))
        return (count, outerEnd)
    }

    @inline(__always)
    mutating func leave(to outerEnd: Int) throws(CodecFault) {
        guard self.offset == self.end else { throw CodecFault(.bytesLeft, at: self.offset, self.end - self.offset) }
        self.end = outerEnd
        self.depthLeft &+= 1
    }

    /// Makes sure that `count` elements of at least `width` bytes fit what is left, and takes them from the budget.
    @inline(__always)
    mutating func admit(_ count: Int, width: Int, countWidth: Int) throws(CodecFault) {
        if width > 0, count > (self.end - self.offset) / width {
            throw CodecFault(.countTooLarge, at: self.offset &- countWidth, count)
        }
        try self.charge(count)
    }

    /// So many values, each put in its place without the checks that appending takes.
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

    /// A map, which is looked through and kept as it came: its values are made where they are asked for.
    mutating func map(wide: Bool) throws(CodecFault) -> AMQPMap {
        let start = self.offset
        let count = self.isPassed ? try self.skipMap(wide: wide) : try self.passMap(wide: wide)
        guard count > 0 else { return AMQPMap() }
        let pairs = start &+ (wide ? 8 : 2)
        return AMQPMap(EncodedMap(self.slice(from: pairs, to: self.offset), count: count))
    }

    /// The fields of a section that is a list: their number, and the end to leave to.
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
            // Each described element takes a place for every one of its descriptors.
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
