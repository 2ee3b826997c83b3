internal import NIOCore

/// Reads the fields of a performative one after the other, in the encodings that the standard allows for them and in no
/// others.
///
/// Proton goes by a list's size, and this by its number of fields: a list in which the two do not agree is not read.
struct FieldReader {
    enum Field<Value> {
        case null
        case value(Value)

        var value: Value? {
            switch self {
            case .null: nil
            case .value(let value): value
            }
        }
    }

    /// The descriptor of a described value: its number, or its symbol.
    enum Descriptor: Equatable {
        case code(UInt64)
        case name(String)
    }

    private let bytes: UnsafeRawBufferPointer
    /// Where the next byte is read.
    private(set) var offset: Int
    /// The fields of the list that are left; those beyond it are null.
    private var count = 0
    /// Where the list ends, which may be behind the bytes.
    private(set) var end = 0

    init(_ bytes: UnsafeRawBufferPointer, offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    @inline(__always)
    private mutating func byte() -> UInt8? {
        guard self.offset < self.bytes.count else { return nil }
        defer { self.offset += 1 }
        return self.bytes[self.offset]
    }

    @inline(__always)
    private mutating func bigEndian(_ count: Int) -> UInt64? {
        guard count <= self.bytes.count - self.offset else { return nil }
        defer { self.offset += count }
        switch count {
        case 1: return UInt64(self.bytes[self.offset])
        case 4: return UInt64(UInt32(bigEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset, as: UInt32.self)))
        default:
            return self.bytes[self.offset..<self.offset + count].reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    private mutating func pass(_ count: UInt64?) -> Bool {
        guard let count, count <= UInt64(max(0, self.bytes.count - self.offset)) else { return false }
        self.offset += Int(count)
        return true
    }

    /// The code of the descriptor: a small or a full ulong.
    mutating func descriptor() -> UInt64? {
        guard self.byte() == 0 else { return nil }
        switch self.byte() {
        case 0x53: return self.byte().map { UInt64($0) }
        case 0x80: return self.bigEndian(8)
        default: return nil
        }
    }

    /// The descriptor, as a number or as a symbol.
    mutating func anyDescriptor() -> Descriptor? {
        let start = self.offset
        if let code = self.descriptor() { return .code(code) }
        self.offset = start
        guard self.byte() == 0, let constructor = self.byte(), constructor == 0xA3 || constructor == 0xB3 else {
            return nil
        }
        let count = self.bigEndian(constructor == 0xA3 ? 1 : 4)
        let name = self.offset
        guard self.pass(count) else { return nil }
        return .name(String(decoding: self.bytes[name..<self.offset], as: UTF8.self))
    }

    /// Passes over the head of a list.
    mutating func list() -> Bool {
        let width: Int
        switch self.byte() {
        case 0x45:
            self.end = self.offset
            return true
        case 0xC0: width = 1
        case 0xD0: width = 4
        default: return false
        }
        guard let size = self.bigEndian(width) else { return false }
        self.end = self.offset + Int(size)
        guard let count = self.bigEndian(width) else { return false }
        self.count = Int(count)
        return true
    }

    /// Whether the fields that are left are such that Proton can decode them: see ``ValueGuard``.
    ///
    /// - Parameter few: The bytes up to which they need not be looked at. In 12 there is no room for a state that is an array
    ///   of more than 255 elements, behind another field.
    @inline(__always)
    func isSound(few: Int = 12) -> Bool {
        (self.offset <= self.end && self.end - self.offset <= few)
            || ValueGuard.accepts(self.bytes, from: self.offset, count: self.count, end: self.end)
    }

    /// The bytes of the list's fields that are left.
    var left: Int { self.end - self.offset }

    /// Where each of the fields that are left lies. Nil where one ends behind the bytes, where they do not end with the
    /// list, and where there are more than `most`.
    mutating func fieldRanges(most: Int) -> [Range<Int>]? {
        guard self.count <= most else { return nil }
        var ranges: [Range<Int>] = []
        while self.hasMore {
            guard let range = self.nextField() else { return nil }
            ranges.append(range)
        }
        return self.offset == self.end ? ranges : nil
    }

    /// Whether fields are left.
    var hasMore: Bool { self.count > 0 }

    /// Passes over the next field. Returns where it lies; nil where it ends behind the bytes.
    mutating func nextField() -> Range<Int>? {
        let start = self.offset
        return self.passAny() ? start..<self.offset : nil
    }

    /// Passes over the head of a list, if Proton can decode all that is in it.
    mutating func isSoundList() -> Bool { self.list() && self.isSound(few: 0) }

    /// The constructor of the next field; that of null behind the end of the list.
    @inline(__always)
    private mutating func constructor() -> UInt8? {
        guard self.count > 0 else { return self.offset == self.end ? 0x40 : nil }
        self.count -= 1
        return self.byte()
    }

    /// Nil for what is not a uint.
    mutating func uint() -> Field<UInt32>? {
        switch self.constructor() {
        case 0x40: .null
        case 0x43: .value(0)
        case 0x52: self.byte().map { .value(UInt32($0)) }
        case 0x70: self.bigEndian(4).map { .value(UInt32($0)) }
        default: nil
        }
    }

    /// Where the four bytes of the next field are; nil when it is not a uint of this width.
    mutating func wideUint() -> Int? {
        guard self.constructor() == 0x70, self.offset + 4 <= self.bytes.count else { return nil }
        defer { self.offset += 4 }
        return self.offset
    }

    /// Nil for what is not a ushort.
    mutating func ushort() -> Field<UInt16>? {
        switch self.constructor() {
        case 0x40: .null
        case 0x60: self.bigEndian(2).map { .value(UInt16($0)) }
        default: nil
        }
    }

    /// Nil for what is not a boolean.
    mutating func bool() -> Field<Bool>? {
        switch self.constructor() {
        case 0x40: .null
        case 0x41: .value(true)
        case 0x42: .value(false)
        case 0x56: self.byte().map { .value($0 != 0) }
        default: nil
        }
    }

    /// Nil for what is not a string. Bytes that are not UTF-8 are replaced.
    mutating func string() -> String? {
        let count: UInt64?
        switch self.constructor() {
        case 0xA1: count = self.bigEndian(1)
        case 0xB1: count = self.bigEndian(4)
        default: return nil
        }
        let start = self.offset
        guard self.pass(count) else { return nil }
        return String(decoding: self.bytes[start..<self.offset], as: UTF8.self)
    }

    /// Nil for what is not a map, and for a map that is larger than is worth while, or ends behind the bytes.
    mutating func map() -> AMQPMap? {
        let start = self.offset
        let count: UInt64?
        switch self.constructor() {
        case 0xC1: count = self.bigEndian(1)
        case 0xD1: count = self.bigEndian(4)
        default: return nil
        }
        guard let count, count < FrameScanner.headLength, self.pass(count) else { return nil }
        var buffer = ByteBuffer(bytes: self.bytes[start..<self.offset])
        return (try? AMQPValue(decoding: &buffer, limits: Self.limits))?.mapValue
    }

    /// What a map may hold that is shown and not needed.
    private static let limits = AMQPDecodingLimits(maximumDepth: 8, maximumElements: 1_024)

    /// Passes over a binary or null. False for what is neither.
    mutating func passBinary() -> Bool {
        switch self.constructor() {
        case 0x40: true
        case 0xA0: self.pass(self.bigEndian(1))
        case 0xB0: self.pass(self.bigEndian(4))
        default: false
        }
    }

    /// Where the bytes of the next field are; nil when it is not a binary of the short form.
    mutating func smallBinary() -> Range<Int>? {
        guard self.constructor() == 0xA0, let count = self.bigEndian(1), self.pass(count) else { return nil }
        return self.offset - Int(count)..<self.offset
    }

    /// Passes over the next value, of no list. Returns where it lies; nil where it ends behind the bytes.
    mutating func nextValue() -> Range<Int>? {
        let start = self.offset
        guard let constructor = self.byte(), self.passAny(constructor, depth: 0) else { return nil }
        return start..<self.offset
    }

    /// The symbols of the next field: one, or an array of them. Empty where there are none, and where they cannot be read.
    mutating func symbols() -> [AMQPSymbol] {
        guard self.hasMore, let range = self.nextField(), self.bytes[range.lowerBound] != 0x40 else { return [] }
        var buffer = ByteBuffer(bytes: self.bytes[range])
        guard let value = try? AMQPValue(decoding: &buffer, limits: Self.limits) else { return [] }
        if let symbol = value.symbolValue { return [symbol] }
        return (value.arrayValue.map { Array($0) } ?? value.listValue ?? []).compactMap(\.symbolValue)
    }

    /// Passes over a value of any type. Returns whether it is a text with a zero byte, where C would cut it; nil where it
    /// ends behind the bytes.
    mutating func passText() -> Bool? {
        guard let constructor = self.constructor() else { return nil }
        let start = self.offset
        guard self.passAny(constructor, depth: 0) else { return nil }
        switch constructor {
        case 0xA1, 0xA3: return self.bytes[start + 1..<self.offset].contains(0)
        case 0xB1, 0xB3: return self.bytes[start + 4..<self.offset].contains(0)
        default: return false
        }
    }

    /// Passes over a source or target. Returns whether its address is a text with a zero byte; nil where it ends behind the
    /// bytes.
    mutating func passTerminus() -> Bool? {
        guard self.count > 0 else { return self.passAny() ? false : nil }
        var terminus = FieldReader(self.bytes, offset: self.offset)
        guard self.passAny() else { return nil }
        guard terminus.anyDescriptor() != nil, terminus.list() else { return false }
        return terminus.passText() ?? false
    }

    /// Passes over a value of any type. False where it ends behind the bytes.
    mutating func passAny() -> Bool {
        guard let constructor = self.constructor() else { return false }
        return self.passAny(constructor, depth: 0)
    }

    private mutating func passAny(_ constructor: UInt8, depth: Int) -> Bool {
        if constructor == 0 {
            // A descriptor and a value, each of which may be described in turn.
            guard depth < 8 else { return false }
            for _ in 0..<2 {
                guard let next = self.byte(), self.passAny(next, depth: depth + 1) else { return false }
            }
            return true
        }
        switch constructor >> 4 {
        case 0x4: return true
        case 0x5: return self.pass(1)
        case 0x6: return self.pass(2)
        case 0x7: return self.pass(4)
        case 0x8: return self.pass(8)
        case 0x9: return self.pass(16)
        case 0xA, 0xC, 0xE: return self.pass(self.bigEndian(1))
        case 0xB, 0xD, 0xF: return self.pass(self.bigEndian(4))
        default: return false
        }
    }
}
