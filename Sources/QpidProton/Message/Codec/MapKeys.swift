/// Finds out whether a map holds a key twice, without a comparison of all keys with all.
///
/// Up to 16 keys are told apart by a hash of their bytes, all at once; more go into a table by that hash. The hash is
/// quick and not keyed: where a peer chose keys that collide, the hashed set of the standard library takes over.
struct MapKeys {
    private var count = 0
    private var few = SIMD16<UInt32>()
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

    /// Takes the next key, which is `encoded` so; false where it is among the pairs before.
    @inline(__always)
    mutating func insert(
        _ key: AMQPValue,
        encoded: UnsafeRawBufferPointer,
        among pairs: [AMQPMap.Element]
    ) -> Bool {
        // Never 0, which marks a free place.
        let hash = Self.hash(key, encoded) | 1
        guard self.table.isEmpty else { return self.insertIntoTable(key, hash, among: pairs) }
        let same = self.few .== SIMD16(repeating: hash)
        if any(same) {
            for index in 0..<self.count where same[index] && pairs[index].key == key {
                return false
            }
        }
        self.few[self.count] = hash
        self.count &+= 1
        return true
    }

    private mutating func insertIntoTable(_ key: AMQPValue, _ hash: UInt32, among pairs: [AMQPMap.Element]) -> Bool {
        if self.all != nil { return self.all?.insert(key).inserted ?? true }
        let mask = self.table.count &- 1
        var place = Int(hash >> 1) & mask
        while self.table[place] != 0 {
            let entry = self.table[place]
            if UInt32(truncatingIfNeeded: entry >> 32) == hash {
                if pairs[Int(UInt32(truncatingIfNeeded: entry)) &- 1].key == key { return false }
            }
            self.stepsLeft &-= 1
            if self.stepsLeft < 0 {
                var all = Set(pairs.map(\.key))
                defer { self.all = all }
                return all.insert(key).inserted
            }
            place = (place &+ 1) & mask
        }
        self.count &+= 1
        self.table[place] = UInt64(hash) << 32 | UInt64(self.count)
        return true
    }

    /// Equal keys have equal hashes, whatever form they were encoded in.
    @inline(__always)
    private static func hash(_ key: AMQPValue, _ encoded: UnsafeRawBufferPointer) -> UInt32 {
        switch key {
        case .string, .symbol, .binary:
            // Constructor and length take two bytes in the narrow forms and five in the wide ones.
            let start = encoded[0] & Code.wide == 0 ? 2 : 5
            return self.hash(UnsafeRawBufferPointer(rebasing: encoded[start...]))
        default: return UInt32(truncatingIfNeeded: key.hashValue)
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
