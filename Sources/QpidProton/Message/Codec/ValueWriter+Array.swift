// SPDX-License-Identifier: Apache-2.0

import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension ValueWriter {
    mutating func array(_ array: AMQPArray) throws(CodecFault) {
        let opening = try self.open(count: array.count)
        try self.arrayBody(array)
        try self.close(opening, Code.array8, count: array.count)
    }

    /// Writes the constructor, and then the elements without constructors.
    private mutating func arrayBody(_ array: AMQPArray) throws(CodecFault) {
        try self.descend(1 + array.descriptors.count)
        defer { self.ascend(1 + array.descriptors.count) }
        for descriptor in array.descriptors {
            try self.room(1)
            self.put(Code.described)
            try self.value(descriptor)
        }
        try self.room(1)
        let codeOffset = self.offset
        let code = array.elementCode
        self.put(code)
        let elementsOffset = self.offset
        var largest = 0
        for element in array.elements {
            try self.element(element.below(array.descriptors.count), code, &largest)
        }
        guard code == Code.list32 || code == Code.map32 || code == Code.array32, largest <= 255 else { return }
        self.drawTogether(from: elementsOffset, count: array.count)
        self.bytes.storeBytes(of: code & ~Code.wide, toByteOffset: codeOffset, as: UInt8.self)
    }

    /// Writes one element without its constructor.
    ///
    /// Compound elements are written in the wide form. `largest` grows to the largest size or count that the narrow
    /// form would have to hold.
    private mutating func element(_ value: AMQPValue, _ code: UInt8, _ largest: inout Int) throws(CodecFault) {
        try self.room(17)
        switch value {
        case .null, .described: break
        case .bool(let value): self.put(value ? 1 as UInt8 : 0)
        case .ubyte(let value): self.put(value)
        case .ushort(let value): self.put(value)
        case .uint(let value):
            if code == Code.smallUint { self.put(UInt8(truncatingIfNeeded: value)) } else { self.put(value) }
        case .ulong(let value):
            if code == Code.smallUlong { self.put(UInt8(truncatingIfNeeded: value)) } else { self.put(value) }
        case .byte(let value): self.put(value)
        case .short(let value): self.put(value)
        case .int(let value):
            if code == Code.smallInt { self.put(Int8(truncatingIfNeeded: value)) } else { self.put(value) }
        case .long(let value):
            if code == Code.smallLong { self.put(Int8(truncatingIfNeeded: value)) } else { self.put(value) }
        case .float(let value): self.put(value.bitPattern)
        case .double(let value): self.put(value.bitPattern)
        case .decimal32(let value): self.put(value.bitPattern)
        case .decimal64(let value): self.put(value.bitPattern)
        case .decimal128(let value):
            self.put(value.high)
            self.put(value.low)
        case .char(let value): self.put(value.value)
        case .timestamp(let value): self.put(value.millisecondsSinceEpoch)
        case .uuid(let value): self.uuidBytes(value)
        case .binary(let bytes): try self.variable(code, bytes.readableBytesView)
        case .string(let text): try self.variable(code, text.utf8)
        case .symbol(let symbol):
            guard symbol.rawValue.utf8.allSatisfy({ $0 < 0x80 }) else {
                throw CodecFault(.nonASCIISymbol, at: self.offset)
            }
            try self.variable(code, symbol.rawValue.utf8)
        case .list(let elements):
            let start = try self.openWide()
            try self.values(elements)
            self.closeWide(start, count: elements.count, &largest)
        case .map(let map):
            let start = try self.openWide()
            try self.values(map.flat)
            self.closeWide(start, count: 2 * map.count, &largest)
        case .array(let array):
            let start = try self.openWide()
            try self.arrayBody(array)
            self.closeWide(start, count: array.count, &largest)
        }
    }

    private mutating func variable(_ code: UInt8, _ source: some Collection<UInt8>) throws(CodecFault) {
        let count = source.count
        try self.room(4 + count)
        if code & Code.wide == 0 {
            self.put(UInt8(truncatingIfNeeded: count))
        } else {
            self.put(UInt32(truncatingIfNeeded: count))
        }
        let target = UnsafeMutableRawBufferPointer(start: self.bytes + self.offset, count: count)
        target.copyBytes(from: source)
        self.offset &+= count
    }

    /// Reserves the bytes of a wide size and count.
    private mutating func openWide() throws(CodecFault) -> Int {
        try self.room(8)
        let start = self.offset
        self.offset &+= 8
        return start
    }

    private mutating func closeWide(_ start: Int, count: Int, _ largest: inout Int) {
        let end = self.offset
        largest = max(largest, end &- start &- 7, count)
        self.offset = start
        self.put(UInt32(truncatingIfNeeded: end &- start &- 4))
        self.put(UInt32(truncatingIfNeeded: count))
        self.offset = end
    }

    /// Rewrites wide elements in the narrow form. The caller has checked that all fit.
    private mutating func drawTogether(from start: Int, count: Int) {
        var source = start
        self.offset = start
        for _ in 0..<count {
            let size = Int(UInt32(bigEndian: self.bytes.loadUnaligned(fromByteOffset: source, as: UInt32.self))) &- 4
            let count = UInt32(bigEndian: self.bytes.loadUnaligned(fromByteOffset: source &+ 4, as: UInt32.self))
            self.put(UInt8(truncatingIfNeeded: size &+ 1))
            self.put(UInt8(truncatingIfNeeded: count))
            self.copy(UnsafeRawBufferPointer(start: self.bytes + source + 8, count: size))
            source &+= 8 &+ size
        }
    }
}

extension AMQPArray {
    /// The constructor of all elements: the narrowest form that fits every element. Numbers and booleans need at least
    /// one byte each, because some peers cannot read elements of width 0. Compound elements are wide until they are
    /// written.
    fileprivate var elementCode: UInt8 {
        switch self.elementType {
        case .null: Code.null
        case .bool: Code.bool
        case .ubyte: Code.ubyte
        case .ushort: Code.ushort
        case .uint: self.fits { $0.uintValue ?? .max <= 255 } ? Code.smallUint : Code.uint
        case .ulong: self.fits { $0.uintValue ?? .max <= 255 } ? Code.smallUlong : Code.ulong
        case .byte: Code.byte
        case .short: Code.short
        case .int: self.fits { Int8(exactly: $0.intValue ?? .max) != nil } ? Code.smallInt : Code.int
        case .long: self.fits { Int8(exactly: $0.intValue ?? .max) != nil } ? Code.smallLong : Code.long
        case .float: Code.float
        case .double: Code.double
        case .decimal32: Code.decimal32
        case .decimal64: Code.decimal64
        case .decimal128: Code.decimal128
        case .char: Code.char
        case .timestamp: Code.timestamp
        case .uuid: Code.uuid
        case .binary: self.fits { $0.binaryValue?.readableBytes ?? .max <= 255 } ? Code.binary8 : Code.binary32
        case .string: self.fits { $0.stringValue?.utf8.count ?? .max <= 255 } ? Code.string8 : Code.string32
        case .symbol: self.fits { $0.symbolValue?.rawValue.utf8.count ?? .max <= 255 } ? Code.symbol8 : Code.symbol32
        case .list: Code.list32
        case .map: Code.map32
        case .array: Code.array32
        }
    }

    private func fits(_ condition: (AMQPValue) -> Bool) -> Bool {
        self.elements.allSatisfy { condition($0.below(self.descriptors.count)) }
    }
}

extension AMQPValue {
    /// Returns the value below a number of descriptors.
    @inline(__always)
    func below(_ descriptors: Int) -> AMQPValue {
        var value = self
        for _ in 0..<descriptors {
            if case .described(let described) = value { value = described.value }
        }
        return value
    }
}
