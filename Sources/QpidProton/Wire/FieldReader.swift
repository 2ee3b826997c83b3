// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A reader of the fields of a performative, in order and only in the encodings that the standard allows.
///
/// Proton reads a list by its size, and this type by its number of fields. It refuses a list in which the two disagree.
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

    private var cursor: ByteCursor
    /// The number of remaining fields of the list; fields beyond the list are null.
    private var count = 0
    /// The end of the list, which may be beyond the bytes.
    private(set) var end = 0

    init(_ bytes: UnsafeRawBufferPointer, offset: Int) {
        self.init(ByteCursor(bytes, offset: offset))
    }

    private init(_ cursor: ByteCursor) {
        self.cursor = cursor
    }

    /// The place of the next byte.
    var offset: Int { self.cursor.offset }

    /// Returns the code of the descriptor, which is a small or a full ulong; `nil` for any other value.
    mutating func descriptor() -> UInt64? {
        guard self.cursor.byte() == Code.described else { return nil }
        switch self.cursor.byte() {
        case Code.smallUlong: return self.cursor.byte().map { UInt64($0) }
        case Code.ulong: return self.cursor.integer(UInt64.self)
        default: return nil
        }
    }

    /// Returns the descriptor, which is a number or a symbol; `nil` for any other value.
    mutating func anyDescriptor() -> Descriptor? {
        let start = self.cursor
        if let code = self.descriptor() { return .code(code) }
        self.cursor = start
        guard self.cursor.byte() == Code.described, let code = self.cursor.byte(),
            code == Code.symbol8 || code == Code.symbol32
        else { return nil }
        return self.cursor.sized(isWide: Code.isWide(code)).map { .name(String(decoding: $0, as: UTF8.self)) }
    }

    /// The code of the next descriptor, if it has the usual form. The reader does not advance.
    var usualDescriptor: UInt8? { self.cursor.usualDescriptor }

    /// Skips the head of a list; `false` for any other value.
    mutating func list() -> Bool {
        switch self.cursor.byte() {
        case Code.list0:
            self.end = self.cursor.offset
            return true
        case Code.list8: return self.enter(self.cursor.compound(isWide: false))
        case Code.list32: return self.enter(self.cursor.compound(isWide: true))
        default: return false
        }
    }

    @inline(__always)
    private mutating func enter(_ list: (end: Int, count: Int)?) -> Bool {
        guard let list else { return false }
        (self.end, self.count) = list
        return true
    }

    /// Returns whether Proton can decode the remaining fields safely: see ``ValueGuard``.
    ///
    /// - Parameter few: The number of bytes up to which no check is needed. Behind another field, 12 bytes have no room
    ///   for a state that is an array of more than 255 elements.
    @inline(__always)
    func isSound(few: Int = 12) -> Bool {
        (self.offset <= self.end && self.end - self.offset <= few)
            || ValueGuard.accepts(self.cursor, count: self.count, end: self.end)
    }

    /// The number of bytes of the remaining fields.
    var left: Int { self.end - self.offset }

    /// Returns the place of each remaining field. Returns `nil` if a field ends beyond the bytes, if the fields do not
    /// end with the list, or if there are more than `most`.
    mutating func fieldRanges(most: Int) -> [Range<Int>]? {
        guard self.count <= most else { return nil }
        var ranges: [Range<Int>] = []
        while self.hasMore {
            guard let range = self.nextField() else { return nil }
            ranges.append(range)
        }
        return self.offset == self.end ? ranges : nil
    }

    /// Whether fields remain.
    var hasMore: Bool { self.count > 0 }

    /// Skips the next field and returns its place; `nil` if the field ends beyond the bytes.
    mutating func nextField() -> Range<Int>? {
        let start = self.offset
        return self.passAny() ? start..<self.offset : nil
    }

    /// Skips the head of a list. Returns false if Proton cannot decode the list safely.
    mutating func isSoundList() -> Bool { self.list() && self.isSound(few: 0) }

    /// Returns the constructor of the next field; the constructor of null after the end of the list.
    @inline(__always)
    private mutating func constructor() -> UInt8? {
        guard self.count > 0 else { return self.offset == self.end ? Code.null : nil }
        self.count -= 1
        return self.cursor.byte()
    }

    /// Reads a uint; `nil` for any other type.
    mutating func uint() -> Field<UInt32>? {
        switch self.constructor() {
        case Code.null: .null
        case Code.uint0: .value(0)
        case Code.smallUint: self.cursor.byte().map { .value(UInt32($0)) }
        case Code.uint: self.cursor.integer(UInt32.self).map { .value($0) }
        default: nil
        }
    }

    /// Returns the place of the next field's four bytes; `nil` if the field is not a uint of this width.
    mutating func wideUint() -> Int? {
        guard self.constructor() == Code.uint else { return nil }
        let start = self.offset
        return self.cursor.skip(4) ? start : nil
    }

    /// Reads a ushort; `nil` for any other type.
    mutating func ushort() -> Field<UInt16>? {
        switch self.constructor() {
        case Code.null: .null
        case Code.ushort: self.cursor.integer(UInt16.self).map { .value($0) }
        default: nil
        }
    }

    /// Reads a boolean; `nil` for any other type.
    mutating func bool() -> Field<Bool>? {
        switch self.constructor() {
        case Code.null: .null
        case Code.true: .value(true)
        case Code.false: .value(false)
        case Code.bool: self.cursor.byte().map { .value($0 != 0) }
        default: nil
        }
    }

    /// Reads a string; `nil` for any other type. Replaces bytes that are not UTF-8.
    mutating func string() -> String? {
        guard let code = self.constructor(), code == Code.string8 || code == Code.string32 else { return nil }
        return self.cursor.sized(isWide: Code.isWide(code)).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Reads a map; `nil` for any other type, for a map above the limit, and for a map that ends beyond the bytes.
    mutating func map() -> AMQPMap? {
        let start = self.offset
        guard let code = self.constructor(), code == Code.map8 || code == Code.map32,
            let size = self.cursor.number(isWide: Code.isWide(code)), size < FrameScanner.headLength,
            self.cursor.skip(size)
        else { return nil }
        var buffer = ByteBuffer(bytes: self.cursor.passed(from: start))
        return (try? AMQPValue(decoding: &buffer, limits: Self.limits))?.mapValue
    }

    /// The limits of values that the library reports but does not need.
    private static let limits = AMQPDecodingLimits(maximumDepth: 8, maximumElements: 1_024)

    /// Skips a binary or null; `false` for any other type.
    mutating func passBinary() -> Bool {
        switch self.constructor() {
        case Code.null: true
        case Code.binary8: self.cursor.sized(isWide: false) != nil
        case Code.binary32: self.cursor.sized(isWide: true) != nil
        default: false
        }
    }

    /// Returns the place of the next field's bytes; `nil` if the field is not a binary of the short form.
    mutating func smallBinary() -> Range<Int>? {
        guard self.constructor() == Code.binary8, let bytes = self.cursor.sized(isWide: false) else { return nil }
        return self.offset - bytes.count..<self.offset
    }

    /// Skips the next value outside a list and returns its place; `nil` if the value ends beyond the bytes.
    mutating func nextValue() -> Range<Int>? {
        let start = self.offset
        return self.passValue(depth: 0) ? start..<self.offset : nil
    }

    /// Returns the symbols of the next field, which is one symbol or an array; empty if there are none, or if they
    /// cannot be read.
    mutating func symbols() -> [AMQPSymbol] {
        guard self.hasMore, let range = self.nextField() else { return [] }
        let field = self.cursor.passed(from: range.lowerBound)
        guard field.first != Code.null else { return [] }
        var buffer = ByteBuffer(bytes: field)
        guard let value = try? AMQPValue(decoding: &buffer, limits: Self.limits) else { return [] }
        if let symbol = value.symbolValue { return [symbol] }
        return (value.arrayValue.map { Array($0) } ?? value.listValue ?? []).compactMap(\.symbolValue)
    }

    /// Skips a value. Returns whether the value is a text with a zero byte, at which C would cut it; `nil` if the value
    /// ends beyond the bytes.
    mutating func passText() -> Bool? {
        guard let code = self.constructor() else { return nil }
        switch code {
        case Code.string8, Code.symbol8, Code.string32, Code.symbol32:
            return self.cursor.sized(isWide: Code.isWide(code)).map { $0.contains(0) }
        default: return self.passContent(of: code, depth: 0) ? false : nil
        }
    }

    /// Skips a source or target. Returns whether its address is a text with a zero byte; `nil` if the terminus ends
    /// beyond the bytes.
    mutating func passTerminus() -> Bool? {
        guard self.count > 0 else { return self.passAny() ? false : nil }
        var terminus = FieldReader(self.cursor)
        guard self.passAny() else { return nil }
        guard terminus.anyDescriptor() != nil, terminus.list() else { return false }
        return terminus.passText() ?? false
    }

    /// Skips a value; `false` if the value ends beyond the bytes.
    mutating func passAny() -> Bool {
        guard let code = self.constructor() else { return false }
        return self.passContent(of: code, depth: 0)
    }

    private mutating func passValue(depth: Int) -> Bool {
        guard let code = self.cursor.byte() else { return false }
        return self.passContent(of: code, depth: depth)
    }

    private mutating func passContent(of code: UInt8, depth: Int) -> Bool {
        guard code == Code.described else { return self.cursor.skipContent(of: code) }
        // A described value consists of a descriptor and a value, each of which may be described in turn.
        return depth < 8 && self.passValue(depth: depth + 1) && self.passValue(depth: depth + 1)
    }
}
