// SPDX-License-Identifier: Apache-2.0

extension AMQPValue: Hashable {
    /// Returns whether the types and the bits are equal.
    public static func == (left: AMQPValue, right: AMQPValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.ubyte(let a), .ubyte(let b)): a == b
        case (.ushort(let a), .ushort(let b)): a == b
        case (.uint(let a), .uint(let b)): a == b
        case (.ulong(let a), .ulong(let b)): a == b
        case (.byte(let a), .byte(let b)): a == b
        case (.short(let a), .short(let b)): a == b
        case (.int(let a), .int(let b)): a == b
        case (.long(let a), .long(let b)): a == b
        case (.float(let a), .float(let b)): a.bitPattern == b.bitPattern
        case (.double(let a), .double(let b)): a.bitPattern == b.bitPattern
        case (.decimal32(let a), .decimal32(let b)): a == b
        case (.decimal64(let a), .decimal64(let b)): a == b
        case (.decimal128(let a), .decimal128(let b)): a == b
        case (.char(let a), .char(let b)): a == b
        case (.timestamp(let a), .timestamp(let b)): a == b
        case (.uuid(let a), .uuid(let b)): a == b
        case (.binary(let a), .binary(let b)): a == b
        case (.string(let a), .string(let b)): a.hasSameUTF8(as: b)
        case (.symbol(let a), .symbol(let b)): a.rawValue.hasSameUTF8(as: b.rawValue)
        case (.list(let a), .list(let b)): a == b
        case (.map(let a), .map(let b)): a == b
        case (.array(let a), .array(let b)): a == b
        case (.described(let a), .described(let b)): a == b
        default: false
        }
    }

    /// Hashes the type and the bits.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.type)
        switch self {
        case .null: break
        case .bool(let value): hasher.combine(value)
        case .ubyte(let value): hasher.combine(value)
        case .ushort(let value): hasher.combine(value)
        case .uint(let value): hasher.combine(value)
        case .ulong(let value): hasher.combine(value)
        case .byte(let value): hasher.combine(value)
        case .short(let value): hasher.combine(value)
        case .int(let value): hasher.combine(value)
        case .long(let value): hasher.combine(value)
        case .float(let value): hasher.combine(value.bitPattern)
        case .double(let value): hasher.combine(value.bitPattern)
        case .decimal32(let value): hasher.combine(value)
        case .decimal64(let value): hasher.combine(value)
        case .decimal128(let value): hasher.combine(value)
        case .char(let value): hasher.combine(value)
        case .timestamp(let value): hasher.combine(value)
        case .uuid(let value): hasher.combine(value)
        case .binary(let value): hasher.combine(value)
        // Only the bytes are hashed, because the hashes of canonically equivalent texts would collide.
        case .string(let value): value.hashBytes(into: &hasher)
        case .symbol(let value): hasher.combine(value)
        case .list(let value): hasher.combine(value)
        case .map(let value): hasher.combine(value)
        case .array(let value): hasher.combine(value)
        case .described(let value): hasher.combine(value)
        }
    }
}

extension String {
    /// Returns whether the UTF-8 bytes are equal, as AMQP requires. Swift's `==` also equates canonically equivalent
    /// texts.
    @inline(__always)
    func hasSameUTF8(as other: String) -> Bool {
        let isSame = self.utf8.withContiguousStorageIfAvailable { own in
            other.utf8.withContiguousStorageIfAvailable { others in
                UnsafeRawBufferPointer(own).hasSameBytes(as: UnsafeRawBufferPointer(others))
            }
        }
        return (isSame ?? nil) ?? self.utf8.elementsEqual(other.utf8)
    }
}
