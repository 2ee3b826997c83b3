// SPDX-License-Identifier: Apache-2.0

/// The constructor bytes.
///
/// Source: AMQP 1.0 §1.6.
enum Code {
    static let described: UInt8 = 0x00
    static let null: UInt8 = 0x40
    static let `true`: UInt8 = 0x41
    static let `false`: UInt8 = 0x42
    static let uint0: UInt8 = 0x43
    static let ulong0: UInt8 = 0x44
    static let list0: UInt8 = 0x45
    static let ubyte: UInt8 = 0x50
    static let byte: UInt8 = 0x51
    static let smallUint: UInt8 = 0x52
    static let smallUlong: UInt8 = 0x53
    static let smallInt: UInt8 = 0x54
    static let smallLong: UInt8 = 0x55
    static let bool: UInt8 = 0x56
    static let ushort: UInt8 = 0x60
    static let short: UInt8 = 0x61
    static let uint: UInt8 = 0x70
    static let int: UInt8 = 0x71
    static let float: UInt8 = 0x72
    static let char: UInt8 = 0x73
    static let decimal32: UInt8 = 0x74
    static let ulong: UInt8 = 0x80
    static let long: UInt8 = 0x81
    static let double: UInt8 = 0x82
    static let timestamp: UInt8 = 0x83
    static let decimal64: UInt8 = 0x84
    static let decimal128: UInt8 = 0x94
    static let uuid: UInt8 = 0x98
    static let binary8: UInt8 = 0xa0
    static let string8: UInt8 = 0xa1
    static let symbol8: UInt8 = 0xa3
    static let binary32: UInt8 = 0xb0
    static let string32: UInt8 = 0xb1
    static let symbol32: UInt8 = 0xb3
    static let list8: UInt8 = 0xc0
    static let map8: UInt8 = 0xc1
    static let list32: UInt8 = 0xd0
    static let map32: UInt8 = 0xd1
    static let array8: UInt8 = 0xe0
    static let array32: UInt8 = 0xf0

    /// The difference between the constructors of the wide and the narrow form.
    static let wide: UInt8 = 0x10

    /// Returns whether sizes, lengths and counts have four bytes. Only for the constructor of a type that has them.
    @inline(__always)
    static func isWide(_ code: UInt8) -> Bool { code & self.wide != 0 }

    /// Returns whether a constructor is that of a binary, a string or a symbol.
    @inline(__always)
    static func isText(_ code: UInt8) -> Bool {
        switch code & ~self.wide {
        case self.binary8, self.string8, self.symbol8: true
        default: false
        }
    }

    /// Returns the type of a constructor; `nil` if AMQP defines no such constructor.
    @inline(__always)
    static func type(of code: UInt8) -> AMQPType? {
        switch code {
        case self.null: .null
        case self.true, self.false, self.bool: .bool
        case self.uint0, self.smallUint, self.uint: .uint
        case self.ulong0, self.smallUlong, self.ulong: .ulong
        case self.ubyte: .ubyte
        case self.byte: .byte
        case self.smallInt, self.int: .int
        case self.smallLong, self.long: .long
        case self.ushort: .ushort
        case self.short: .short
        case self.float: .float
        case self.char: .char
        case self.decimal32: .decimal32
        case self.double: .double
        case self.timestamp: .timestamp
        case self.decimal64: .decimal64
        case self.decimal128: .decimal128
        case self.uuid: .uuid
        case self.binary8, self.binary32: .binary
        case self.string8, self.string32: .string
        case self.symbol8, self.symbol32: .symbol
        case self.list0, self.list8, self.list32: .list
        case self.map8, self.map32: .map
        case self.array8, self.array32: .array
        default: nil
        }
    }

    /// Returns the minimum number of bytes of a value after its constructor, from the upper four bits.
    @inline(__always)
    static func minimumWidth(of code: UInt8) -> Int {
        switch code >> 4 {
        case 0x4: 0
        case 0x5, 0xa: 1
        case 0x6, 0xc: 2
        case 0x7, 0xb: 4
        case 0x8, 0xd: 8
        case 0x9: 16
        case 0xe: 3
        case 0xf: 9
        default: 0
        }
    }
}

/// The numbers of the sections' descriptors.
///
/// Source: AMQP 1.0 §3.2.
enum Section {
    static let header: UInt8 = 0x70
    static let deliveryAnnotations: UInt8 = 0x71
    static let messageAnnotations: UInt8 = 0x72
    static let properties: UInt8 = 0x73
    static let applicationProperties: UInt8 = 0x74
    static let data: UInt8 = 0x75
    static let sequence: UInt8 = 0x76
    static let value: UInt8 = 0x77
    static let footer: UInt8 = 0x78

    /// Returns the section with a numeric or symbolic descriptor; `nil` if AMQP defines no such section.
    static func number(_ descriptor: AMQPValue) -> UInt8? {
        switch descriptor {
        case .ulong(let number) where number >= UInt64(self.header) && number <= UInt64(self.footer): UInt8(number)
        case .symbol("amqp:header:list"): self.header
        case .symbol("amqp:delivery-annotations:map"): self.deliveryAnnotations
        case .symbol("amqp:message-annotations:map"): self.messageAnnotations
        case .symbol("amqp:properties:list"): self.properties
        case .symbol("amqp:application-properties:map"): self.applicationProperties
        case .symbol("amqp:data:binary"): self.data
        case .symbol("amqp:amqp-sequence:list"): self.sequence
        case .symbol("amqp:amqp-value:*"): self.value
        case .symbol("amqp:footer:map"): self.footer
        default: nil
        }
    }
}
