// SPDX-License-Identifier: Apache-2.0

/// The key of a value in a ``SlotMap``. After the removal of this value, the key finds no other value.
struct SlotKey: Hashable, Sendable {
    fileprivate let index: UInt32
    fileprivate let generation: UInt32

    fileprivate init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// The key in one machine word, never 0, for use as a pointer in C.
    var bitPattern: UInt { UInt(self.generation) << 32 | UInt(self.index + 1) }

    init(bitPattern: UInt) {
        self.init(
            index: UInt32(truncatingIfNeeded: bitPattern) - 1,
            generation: UInt32(truncatingIfNeeded: bitPattern >> 32)
        )
    }
}

/// Values by key, found without hashing. A later value uses a free place again under another key.
///
/// Reading copies the value, so a frequently read value should be plain, or a single reference.
struct SlotMap<Value> {
    private struct Slot {
        var generation: UInt32
        var value: Value?
    }

    private var slots: [Slot] = []
    private var free: [UInt32] = []

    /// The key of the next value.
    var nextKey: SlotKey {
        self.free.last.map { SlotKey(index: $0, generation: self.slots[Int($0)].generation) }
            ?? SlotKey(index: UInt32(self.slots.count), generation: 0)
    }

    mutating func insert(_ value: Value) -> SlotKey {
        let key = self.nextKey
        if self.free.popLast() != nil {
            self.slots[Int(key.index)].value = value
        } else {
            self.slots.append(Slot(generation: 0, value: value))
        }
        return key
    }

    /// Inserts a value that stores its key.
    mutating func insert(_ make: (SlotKey) -> Value) -> Value {
        let value = make(self.nextKey)
        _ = self.insert(value)
        return value
    }

    @discardableResult
    mutating func remove(_ key: SlotKey) -> Value? {
        guard self.contains(key) else { return nil }
        let index = Int(key.index)
        defer {
            self.slots[index].value = nil
            self.slots[index].generation &+= 1
            self.free.append(key.index)
        }
        return self.slots[index].value
    }

    mutating func removeAll() {
        for index in self.slots.indices where self.slots[index].value != nil {
            self.remove(SlotKey(index: UInt32(index), generation: self.slots[index].generation))
        }
    }

    /// The values in the order of their places.
    var values: some Sequence<Value> { self.slots.lazy.compactMap(\.value) }

    var count: Int { self.slots.count - self.free.count }

    /// Changes a value in place. Returns `nil` without a call of `body` after the removal of the value.
    ///
    /// The value stays in the array. Writing through the subscript would allocate the frame of its accessor each time.
    @inline(__always)
    mutating func update<Result>(_ key: SlotKey, _ body: (inout Value) -> Result) -> Result? {
        guard self.contains(key) else { return nil }
        return body(&self.slots[Int(key.index)].value!)
    }

    func contains(_ key: SlotKey) -> Bool {
        key.index < self.slots.count && self.slots[Int(key.index)].generation == key.generation
            && self.slots[Int(key.index)].value != nil
    }

    /// The value; `nil` after its removal. Writing to a key without a value has no effect.
    @inline(__always)
    subscript(key: SlotKey) -> Value? {
        get { self.contains(key) ? self.slots[Int(key.index)].value : nil }
        _modify {
            guard self.contains(key) else {
                var nothing: Value?
                yield &nothing
                return
            }
            yield &self.slots[Int(key.index)].value
        }
    }
}
