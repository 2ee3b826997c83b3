// SPDX-License-Identifier: Apache-2.0

/// A hash table that finds a repeated key of an encoded map without comparing all keys with each other.
///
/// The hash of a key's bytes is fast and not keyed. If a peer chooses keys that collide, a `Set` of the standard
/// library replaces the table.
struct MapKeys {
    /// Each entry has a hash in the upper half, and the key's offset plus one in the lower half. The size is a power of
    /// two.
    private let table: UnsafeMutableBufferPointer<UInt64>
    private var stepsLeft: Int
    private var all: Set<AMQPValue>?

    /// Returns the size of the table for a number of keys: at least twice that number.
    static func places(for keys: Int) -> Int { 1 << (Int.bitWidth - (2 * keys - 1).leadingZeroBitCount) }

    /// Creates the table in uninitialized memory.
    @inline(__always)
    init(in table: UnsafeMutableBufferPointer<UInt64>) {
        table.initialize(repeating: 0)
        self.table = table
        self.stepsLeft = 4 * table.count
    }

    /// Adds the key that `reader` has skipped from an offset. Returns `false` if the table contains an equal key.
    @inline(__always)
    mutating func insert(from start: Int, _ reader: ValueReader) -> Bool {
        // The hash is never 0, because 0 marks a free place.
        let hash = Self.hash(start, reader) | 1
        guard self.all == nil else { return self.insertIntoSet(start, reader) }
        let mask = self.table.count &- 1
        var place = Int(hash >> 1) & mask
        while self.table[place] != 0 {
            let entry = self.table[place]
            if UInt32(truncatingIfNeeded: entry >> 32) == hash {
                let other = Int(UInt32(truncatingIfNeeded: entry)) &- 1
                if reader.isEqual(start, other) { return false }
            }
            self.stepsLeft &-= 1
            if self.stepsLeft < 0 { return self.insertIntoSet(start, reader) }
            place = (place &+ 1) & mask
        }
        self.table[place] = UInt64(hash) << 32 | UInt64(UInt32(truncatingIfNeeded: start &+ 1))
        return true
    }

    private mutating func insertIntoSet(_ start: Int, _ reader: ValueReader) -> Bool {
        if self.all == nil {
            let before = self.table.lazy.filter { $0 != 0 }.map { Int(UInt32(truncatingIfNeeded: $0)) &- 1 }
            self.all = Set(before.compactMap { reader.passed($0) })
        }
        guard let key = reader.passed(start) else { return true }
        return self.all?.insert(key).inserted ?? true
    }

    /// Returns the hash of a key. Equal keys have equal hashes in every encoded form.
    @inline(__always)
    private static func hash(_ start: Int, _ reader: ValueReader) -> UInt32 {
        if let text = reader.cursor.passedText(from: start) { return self.hash(text) }
        return UInt32(truncatingIfNeeded: reader.passed(start)?.hashValue ?? 0)
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
