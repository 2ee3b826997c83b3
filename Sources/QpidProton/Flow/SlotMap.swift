/// The place of a value in a ``SlotMap``: it finds nothing once the value has been taken out.
struct SlotKey: Hashable, Sendable {
    fileprivate let index: UInt32
    fileprivate let generation: UInt32

    fileprivate init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// The key in one machine word, never 0, so that it fits where C keeps a pointer.
    var bitPattern: UInt { UInt(self.generation) << 32 | UInt(self.index + 1) }

    init(bitPattern: UInt) {
        self.init(
            index: UInt32(truncatingIfNeeded: bitPattern) - 1,
            generation: UInt32(truncatingIfNeeded: bitPattern >> 32)
        )
    }
}

/// Values by key, found without hashing; a place is used again under another key.
struct SlotMap<Value> {
    private struct Slot {
        var generation: UInt32
        var value: Value?
    }

    private var slots: [Slot] = []
    private var free: [UInt32] = []

    var isEmpty: Bool { self.free.count == self.slots.count }
    var count: Int { self.slots.count - self.free.count }
    var values: [Value] { self.slots.compactMap(\.value) }
    var entries: [(key: SlotKey, value: Value)] {
        self.slots.enumerated().compactMap { index, slot in
            slot.value.map { (SlotKey(index: UInt32(index), generation: slot.generation), $0) }
        }
    }

    mutating func insert(_ value: Value) -> SlotKey {
        if let index = self.free.popLast() {
            self.slots[Int(index)].value = value
            return SlotKey(index: index, generation: self.slots[Int(index)].generation)
        }
        self.slots.append(Slot(generation: 0, value: value))
        return SlotKey(index: UInt32(self.slots.count - 1), generation: 0)
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

    func contains(_ key: SlotKey) -> Bool {
        key.index < self.slots.count && self.slots[Int(key.index)].generation == key.generation
            && self.slots[Int(key.index)].value != nil
    }

    /// The value, or nil when it has been taken out. Writing to a key that finds nothing does nothing.
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
