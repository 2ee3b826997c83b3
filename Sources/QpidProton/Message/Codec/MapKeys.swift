/// Finds out whether a map holds a key twice, without a comparison of all keys with all.
///
/// Up to 16 keys are compared only where six bits of a hash of their bytes agree; more go into a table by that hash.
/// The hash is quick and not keyed: where a peer chose keys that collide, the set of the standard library takes over.
struct MapKeys {
    /// One bit for each value of six bits of the hash.
    private var few: UInt64 = 0
    /// A hash in the upper half and the key's index plus one in the lower one; a power of two in size.
    private var table: [UInt64] = []
    private var stepsLeft = 0
    private var all: Set<AMQPValue>?

    @inline(__always)
    init(count: Int) {
        guard count > 16 else { return }
        let size = 1 << (Int.bitWidth - (2 * count - 1).leadingZeroBitCount)
        self.table = Array(repeating: 0, count: size)
        self.stepsLeft = 8 * count
    }

    /// Takes the key at an index of the keys and values in turn; false where an equal one is before it.
    ///
    /// `encoded` are the key's bytes. Only what is before the index needs to be initialized, besides the key.
    @inline(__always)
    mutating func insert(
        _ values: UnsafeMutablePointer<AMQPValue>,
        _ index: Int,
        encoded: UnsafeRawBufferPointer
    ) -> Bool {
        // Never 0, which marks a free place.
        let hash = Self.hash(UnsafePointer(values + index), encoded) | 1
        guard self.table.isEmpty else { return self.insertIntoTable(values, index, hash) }
        let bit = UInt64(1) << UInt64(hash >> 26)
        if self.few & bit != 0 {
            for place in stride(from: 0, to: index, by: 2) where values[place] == values[index] { return false }
        }
        self.few |= bit
        return true
    }

    private mutating func insertIntoTable(
        _ values: UnsafeMutablePointer<AMQPValue>,
        _ index: Int,
        _ hash: UInt32
    ) -> Bool {
        if self.all != nil { return self.all?.insert(values[index]).inserted ?? true }
        let mask = self.table.count &- 1
        var place = Int(hash >> 1) & mask
        while self.table[place] != 0 {
            let entry = self.table[place]
            if UInt32(truncatingIfNeeded: entry >> 32) == hash {
                if values[Int(UInt32(truncatingIfNeeded: entry)) &- 1] == values[index] { return false }
            }
            self.stepsLeft &-= 1
            if self.stepsLeft < 0 {
                var all = Set(stride(from: 0, to: index, by: 2).map { values[$0] })
                defer { self.all = all }
                return all.insert(values[index]).inserted
            }
            place = (place &+ 1) & mask
        }
        self.table[place] = UInt64(hash) << 32 | UInt64(UInt32(truncatingIfNeeded: index &+ 1))
        return true
    }

    /// Equal keys have equal hashes, whatever form they were encoded in.
    @inline(__always)
    private static func hash(_ key: UnsafePointer<AMQPValue>, _ encoded: UnsafeRawBufferPointer) -> UInt32 {
        switch key.pointee {
        case .string, .symbol, .binary:
            // Constructor and length take two bytes in the narrow forms and five in the wide ones.
            let start = encoded[0] & Code.wide == 0 ? 2 : 5
            return self.hash(UnsafeRawBufferPointer(rebasing: encoded[start...]))
        default: return UInt32(truncatingIfNeeded: key.pointee.hashValue)
        }
    }

    @inline(__always)
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let count = bytes.count
        var first: UInt64 = 0
        var last: UInt64 = 0
        if count >= 8 {
            first = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
            last = bytes.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        } else if count >= 4 {
            first = UInt64(bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
            last = UInt64(bytes.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self))
        } else {
            for byte in bytes { first = first << 8 | UInt64(byte) }
        }
        var mixed = (first ^ UInt64(count)) &* 0x9e37_79b9_7f4a_7c15
        mixed = (mixed ^ (mixed >> 32) ^ last) &* 0xc2b2_ae3d_27d4_eb4f
        return UInt32(truncatingIfNeeded: mixed >> 32)
    }
}
