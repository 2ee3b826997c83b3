// SPDX-License-Identifier: Apache-2.0

/// A described list in its encoded form: a performative, a terminus, a delivery state or an error.
///
/// The bytes of fields that are not replaced stay the same. Without a replacement all bytes of the composite stay the
/// same. Source: AMQP 1.0 §1.4.
struct EncodedComposite {
    /// The most fields of a composite. No composite of the standard has more than 15.
    private static let mostFields = 64
    private static let null: [UInt8] = [Code.null]

    /// The parts of the composite before a change.
    private let original: ArraySlice<UInt8>
    private(set) var descriptor: FieldReader.Descriptor
    private var encodedDescriptor: ArraySlice<UInt8>
    private let constructor: UInt8
    private var fields: [ArraySlice<UInt8>]
    private(set) var isChanged = false

    /// The bytes of the composite before a change.
    var originalCount: Int { self.original.count }

    /// Reads the composite at the start of `bytes`; `nil` if there is no composite, or if its fields do not end with
    /// its list.
    init?(_ bytes: ArraySlice<UInt8>) {
        let start = bytes.startIndex
        let parts = bytes.withUnsafeBytes {
            raw -> (FieldReader.Descriptor, list: Int, fields: [Range<Int>], end: Int)? in
            var reader = FieldReader(raw, offset: 0)
            guard let descriptor = reader.anyDescriptor() else { return nil }
            let list = reader.offset
            guard reader.list(), let fields = reader.fieldRanges(most: Self.mostFields) else { return nil }
            return (descriptor, list, fields, reader.offset)
        }
        guard let (descriptor, list, fields, end) = parts else { return nil }
        self.original = bytes[start..<start + end]
        self.descriptor = descriptor
        self.encodedDescriptor = bytes[start + 1..<start + list]
        self.constructor = bytes[start + list]
        self.fields = fields.map { bytes[start + $0.lowerBound..<start + $0.upperBound] }
    }

    /// The encoded value of a field; an encoded null if the list ends before the field.
    subscript(_ field: Int) -> ArraySlice<UInt8> {
        self.fields.indices.contains(field) ? self.fields[field] : Self.null[...]
    }

    /// Replaces a field. Omitted fields before it become null.
    ///
    /// - Parameter value: One encoded value.
    mutating func set(_ field: Int, to value: [UInt8]) {
        guard self[field] != value[...] else { return }
        while self.fields.count <= field { self.fields.append(Self.null[...]) }
        self.fields[field] = value[...]
        self.isChanged = true
    }

    /// Replaces a field with a uint.
    mutating func set(_ field: Int, to number: UInt32) {
        self.set(field, to: [Code.uint] + Self.bigEndian(number))
    }

    /// Replaces a field with a binary of at most 255 bytes.
    mutating func set(_ field: Int, toBinary bytes: some Collection<UInt8>) {
        self.set(field, to: [Code.binary8, UInt8(bytes.count)] + bytes)
    }

    func isBinary(_ field: Int) -> Bool { self[field].first.map { $0 & ~Code.wide } == Code.binary8 }

    /// Returns the bytes of a binary field, empty for null; `nil` for any other type.
    func binary(_ field: Int) -> ArraySlice<UInt8>? {
        if self[field].first == Code.null { return [] }
        return self.isBinary(field) ? self.text(field) : nil
    }

    /// Returns the content of a binary, string or symbol field; `nil` for any other type.
    private func text(_ field: Int) -> ArraySlice<UInt8>? {
        let value = self[field]
        return value.withUnsafeBytes { ByteCursor($0).text(at: 0)?.bytes.count }.map { value.suffix($0) }
    }

    /// Replaces the descriptor.
    mutating func describe(as code: UInt8) {
        self.descriptor = .code(UInt64(code))
        self.encodedDescriptor = [Code.smallUlong, code]
        self.isChanged = true
    }

    /// Changes the composite in a field. Does nothing if the field contains no composite.
    mutating func edit(_ field: Int, _ body: (inout EncodedComposite) -> Void) {
        guard var composite = EncodedComposite(self[field]), composite.originalCount == self[field].count else {
            return
        }
        body(&composite)
        if composite.isChanged { self.set(field, to: composite.encoded) }
    }

    /// Writes U+FFFD in place of each zero byte of a field that is a string or symbol.
    mutating func replaceZeroBytes(_ field: Int) {
        guard let constructor = self[field].first, !self.isBinary(field), let text = self.text(field), text.contains(0)
        else { return }
        let whole = text.flatMap { $0 == 0 ? [0xEF, 0xBF, 0xBD] : [$0] }
        let isShort = !Code.isWide(constructor) && whole.count <= 0xFF
        let length = isShort ? [UInt8(whole.count)] : Self.bigEndian(UInt32(whole.count))
        self.set(field, to: [isShort ? constructor : constructor | Code.wide] + length + whole)
    }

    /// The composite with its replacements. Its list has the same width as before if the fields fit.
    var encoded: [UInt8] {
        guard self.isChanged else { return Array(self.original) }
        var bytes = [Code.described] + self.encodedDescriptor
        let size = self.fields.reduce(0) { $0 + $1.count }
        if self.fields.isEmpty, self.constructor == Code.list0 {
            bytes.append(Code.list0)
        } else if self.constructor != Code.list32, size < 0xFF, self.fields.count <= 0xFF {
            bytes += [Code.list8, UInt8(size + 1), UInt8(self.fields.count)]
        } else {
            bytes.append(Code.list32)
            bytes += Self.bigEndian(UInt32(size + 4)) + Self.bigEndian(UInt32(self.fields.count))
        }
        for field in self.fields { bytes += field }
        return bytes
    }

    static func bigEndian(_ number: UInt32) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }
}
