// SPDX-License-Identifier: Apache-2.0

/// A fault of the codec, small enough to be thrown in registers. The public functions convert it to an ``AMQPError``.
struct CodecFault: Error {
    enum Kind: UInt8 {
        case truncated
        case unknownConstructor
        case invalidBoolean
        case invalidScalar
        case invalidUTF8
        case nonASCIISymbol
        case sizeTooSmall
        case countTooLarge
        case oddMapCount
        case duplicateKey
        case bytesLeft
        case tooDeep
        case tooManyElements
        case wrongType
        case tooManyFields
        case notASection
        case unknownSection
        case sectionDoubled
        case sectionOutOfOrder
        case mixedBody
        // The faults of encoding:
        case tooLarge
        case outOfRoom
    }

    /// The types that a field may require.
    enum Wanted: Int {
        case boolean, ubyte, uint, timestamp, binary, string, symbol, list, map, messageID

        var name: String {
            switch self {
            case .messageID: "ulong, uuid, binary or string"
            default: "\(self)"
            }
        }
    }

    let kind: Kind
    /// The offset of the wrong byte.
    let offset: Int
    /// The constructor, the count or the number of bytes, depending on the kind of fault.
    let number: Int

    init(_ kind: Kind, at offset: Int, _ number: Int = 0) {
        self.kind = kind
        self.offset = offset
        self.number = number
    }

    init(wanted: Wanted, at offset: Int) {
        self.init(.wrongType, at: offset, wanted.rawValue)
    }

    private var text: String {
        switch self.kind {
        case .truncated: "the bytes end: \(self.number) more needed"
        case .unknownConstructor: "unknown constructor 0x\(String(self.number, radix: 16))"
        case .invalidBoolean: "a boolean of 0x\(String(self.number, radix: 16))"
        case .invalidScalar: "0x\(String(self.number, radix: 16)) is no Unicode scalar"
        case .invalidUTF8: "a string that is not UTF-8"
        case .nonASCIISymbol: "a symbol that is not ASCII"
        case .sizeTooSmall: "a size of \(self.number) leaves no room for the count"
        case .countTooLarge: "a count of \(self.number) elements, more than the bytes can hold"
        case .oddMapCount: "a map of \(self.number) elements, which is odd"
        case .duplicateKey: "a map with the same key twice"
        case .bytesLeft: "\(self.number) bytes more than the elements need"
        case .tooDeep: "values nested too deep"
        case .tooManyElements: "too many elements"
        case .wrongType: "another type than \(Wanted(rawValue: self.number)?.name ?? "wanted")"
        case .tooManyFields: "\(self.number) fields, more than the section has"
        case .notASection: "no section begins with 0x\(String(self.number, radix: 16))"
        case .unknownSection: "an unknown section"
        case .sectionDoubled: "section 0x\(String(self.number, radix: 16)) occurs twice"
        case .sectionOutOfOrder: "section 0x\(String(self.number, radix: 16)) is out of order"
        case .mixedBody: "section 0x\(String(self.number, radix: 16)) in a body of another kind"
        case .tooLarge: "more than 2 GiB"
        case .outOfRoom: "the size was estimated too small"
        }
    }

    /// The error for bytes that cannot be decoded.
    var decodingError: AMQPError {
        AMQPError(scope: .delivery, condition: .decodeError, detail: "\(self.text) at byte \(self.offset)")
    }

    /// The error for a value that cannot be encoded.
    var encodingError: AMQPError {
        self.kind == .outOfRoom
            ? AMQPError(condition: .internalError, detail: self.text)
            : AMQPError(condition: .invalidArgument, detail: "cannot be encoded: \(self.text)")
    }
}
