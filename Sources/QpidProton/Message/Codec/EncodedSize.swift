// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// An upper bound for the size of encoded values, so that one allocation suffices. The computation refuses values that
/// are too deep before any byte is written.
struct EncodedSize {
    private(set) var bytes = 0
    private var depthLeft = AMQPDecodingLimits.highestDepth

    /// The largest message: sizes stay below the signed 32-bit range that some peers use.
    static let maximum = Int(Int32.max)
    /// The bytes of a compound value's constructor, size and count.
    private static let compound = 9

    @inline(__always)
    mutating func add(bytes: Int) {
        self.bytes &+= bytes
    }

    /// Enters levels with the same limit as ``ValueWriter``, so that both refuse the same depth.
    @inline(__always)
    private mutating func descend(_ levels: Int = 1) throws(CodecFault) {
        guard self.depthLeft >= levels else { throw CodecFault(.tooDeep, at: 0) }
        // The sum stops early, because values that share memory can have a huge sum.
        guard self.bytes <= Self.maximum else { throw CodecFault(.tooLarge, at: 0) }
        self.depthLeft &-= levels
    }

    mutating func add(_ value: AMQPValue) throws(CodecFault) {
        try withUnsafePointer(to: value) { (pointer) throws(CodecFault) in try self.add(pointer) }
    }

    /// Adds one value. Values are passed by pointer, because arguments of a recursive function would be retained and
    /// released.
    private mutating func add(_ value: UnsafePointer<AMQPValue>) throws(CodecFault) {
        switch value.pointee {
        case .string(let text): self.add(bytes: 5 + text.utf8.count)
        case .symbol(let symbol): self.add(bytes: 5 + symbol.rawValue.utf8.count)
        case .binary(let bytes): self.add(bytes: 5 + bytes.readableBytes)
        case .null, .bool: self.add(bytes: 1)
        case .ubyte, .byte: self.add(bytes: 2)
        case .ushort, .short: self.add(bytes: 3)
        case .uint, .int, .float, .char, .decimal32: self.add(bytes: 5)
        case .ulong, .long, .double, .timestamp, .decimal64: self.add(bytes: 9)
        case .decimal128, .uuid: self.add(bytes: 17)
        case .list(let elements): try self.add(elements)
        case .map(let map): try self.add(map)
        case .array(let array):
            try self.add(array)
        case .described(let described):
            try self.descend()
            self.add(bytes: 1)
            try self.add(described.descriptor)
            try self.add(described.value)
            self.depthLeft &+= 1
        }
    }

    mutating func add(_ elements: [AMQPValue]) throws(CodecFault) {
        try elements.withUnsafeBufferPointer { (elements) throws(CodecFault) in try self.add(elements) }
    }

    @inline(__always)
    mutating func add(_ map: AMQPMap) throws(CodecFault) {
        try self.add(map.flat)
    }

    private mutating func add(_ array: AMQPArray) throws(CodecFault) {
        let levels = array.descriptors.count
        try self.descend(1 + levels)
        self.add(bytes: Self.compound + 1)
        for descriptor in array.descriptors {
            self.add(bytes: 1)
            try self.add(descriptor)
        }
        for element in array.elements { try self.add(element.below(levels)) }
        self.depthLeft &+= 1 + levels
    }

    private mutating func add(_ values: UnsafeBufferPointer<AMQPValue>) throws(CodecFault) {
        try self.descend()
        self.add(bytes: Self.compound)
        if var next = values.baseAddress {
            for _ in 0..<values.count {
                try self.add(next)
                next += 1
            }
        }
        self.depthLeft &+= 1
    }

    mutating func add(_ message: AMQPMessage) throws(CodecFault) {
        // The descriptors and openings of nine sections need at most 108 bytes, the header's fields 25, and nulls 13.
        // The rest covers checks that require more room than the field needs.
        self.add(bytes: 192)
        if let extras = message.extrasBox?.value {
            try self.add(extras.deliveryAnnotations)
            try self.add(extras.messageAnnotations)
            try self.add(extras.footer)
            for value in extras.mistypedFields.values { try self.add(value) }
        }
        if let box = message.properties.box { self.add(box.value) }
        try self.add(message.applicationProperties)
        switch message.storedBody {
        case .empty: break
        case .data(let bytes): self.add(bytes: 8 + bytes.readableBytes)
        case .dataSections(let sections):
            for section in sections { self.add(bytes: 8 + section.readableBytes) }
        case .sequence(let sections):
            for section in sections {
                self.add(bytes: 3)
                try self.add(section)
            }
        case .value(let value): try self.add(value)
        }
    }

    private mutating func add(_ properties: AMQPProperties.Fields) {
        self.add(properties.messageID)
        self.add(bytes: properties.userID?.readableBytes ?? 0)
        self.add(properties.to)
        self.add(properties.subject)
        self.add(properties.replyTo)
        self.add(properties.correlationID)
        self.add(properties.contentType?.rawValue)
        self.add(properties.contentEncoding?.rawValue)
        self.add(properties.groupID)
        self.add(properties.replyToGroupID)
        // The constant covers constructors and sizes, two timestamps and a uint.
        self.add(bytes: 10 * 5 + 2 * 9 + 5)
    }

    @inline(__always)
    private mutating func add(_ text: String?) {
        if let text { self.add(bytes: text.utf8.count) }
    }

    @inline(__always)
    private mutating func add(_ id: AMQPMessageID?) {
        switch id {
        case nil: break
        case .ulong, .uuid: self.add(bytes: 16)
        case .binary(let bytes): self.add(bytes: bytes.readableBytes)
        case .string(let text): self.add(bytes: text.utf8.count)
        }
    }
}
