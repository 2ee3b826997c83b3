/// Values by key, found without hashing, and in the order in which they were put in.
///
/// A value can leave the order and still be found by its key. Every step takes the same time, however many values there are.
struct OrderedSlots<Value> {
    private struct Node {
        var value: Value?
        var generation: UInt32 = 0
        var isInOrder = false
        var previous = Self.none
        var next = Self.none

        static var none: UInt32 { .max }
    }

    private var nodes: [Node] = []
    private var free: [UInt32] = []
    private var head = Node.none
    private var tail = Node.none

    var count: Int { self.nodes.count - self.free.count }

    /// The key of the oldest value in the order.
    var first: SlotKey? { self.head == Node.none ? nil : self.key(self.head) }

    /// Puts a value at the end of the order.
    mutating func append(_ value: Value) -> SlotKey {
        let index: UInt32
        if let last = self.free.popLast() {
            index = last
        } else {
            index = UInt32(self.nodes.count)
            self.nodes.append(Node())
        }
        let place = Int(index)
        self.nodes[place].value = value
        self.nodes[place].isInOrder = true
        self.nodes[place].previous = self.tail
        self.nodes[place].next = Node.none
        if self.tail == Node.none { self.head = index } else { self.nodes[Int(self.tail)].next = index }
        self.tail = index
        return self.key(index)
    }

    /// The value; nil when it has been taken out.
    subscript(key: SlotKey) -> Value? {
        self.index(key).flatMap { self.nodes[Int($0)].value }
    }

    func isInOrder(_ key: SlotKey) -> Bool {
        self.index(key).map { self.nodes[Int($0)].isInOrder } ?? false
    }

    /// Takes a value out of the order, and gives it; nil when it is not in it.
    mutating func withdraw(_ key: SlotKey) -> Value? {
        guard let index = self.index(key), self.nodes[Int(index)].isInOrder else { return nil }
        self.unlink(index)
        return self.nodes[Int(index)].value
    }

    /// Takes a value out.
    @discardableResult
    mutating func remove(_ key: SlotKey) -> Value? {
        guard let index = self.index(key) else { return nil }
        if self.nodes[Int(index)].isInOrder { self.unlink(index) }
        defer {
            self.nodes[Int(index)].value = nil
            self.nodes[Int(index)].generation &+= 1
            self.free.append(index)
        }
        return self.nodes[Int(index)].value
    }

    private mutating func unlink(_ index: UInt32) {
        let (previous, next) = (self.nodes[Int(index)].previous, self.nodes[Int(index)].next)
        self.nodes[Int(index)].isInOrder = false
        if previous == Node.none { self.head = next } else { self.nodes[Int(previous)].next = next }
        if next == Node.none { self.tail = previous } else { self.nodes[Int(next)].previous = previous }
    }

    private func key(_ index: UInt32) -> SlotKey {
        SlotKey(bitPattern: UInt(self.nodes[Int(index)].generation) << 32 | UInt(index + 1))
    }

    private func index(_ key: SlotKey) -> UInt32? {
        let bits = key.bitPattern
        let index = UInt32(truncatingIfNeeded: bits) &- 1
        guard index < self.nodes.count, self.nodes[Int(index)].generation == UInt32(truncatingIfNeeded: bits >> 32)
        else {
            return nil
        }
        return self.nodes[Int(index)].value == nil ? nil : index
    }
}
