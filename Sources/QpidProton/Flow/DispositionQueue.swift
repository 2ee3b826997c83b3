// SPDX-License-Identifier: Apache-2.0

/// Plain values in the order of their insertion, found by key without hashing.
///
/// A value can leave the order and still be found by its key. A decided value stays at its place: it is ripe if no
/// undecided value precedes it, otherwise it waits. Every step takes constant time. Every message uses the queue, so
/// the queue manages its own memory. An array would check for other references at each step.
struct DispositionQueue<Value: BitwiseCopyable>: ~Copyable {
    private enum Place: UInt8 { case free, inOrder, waiting, ripe, withdrawn }

    private struct Node {
        var value: Value?
        var generation: UInt32 = 0
        var place = Place.free
        /// The next node in the order, or the next free node.
        var next = Self.none
        var previous = Self.none
        /// The time of the decision about the value.
        var time: Int64 = 0

        static var none: UInt32 { .max }
    }

    private var nodes: UnsafeMutablePointer<Node>
    private var capacity: Int
    /// The number of used nodes.
    private var used = 0
    private(set) var count = 0
    /// The number of undecided values in the order.
    private(set) var orderedCount = 0
    /// The number of decided values that an undecided value precedes.
    private(set) var waitingCount = 0
    /// The number of decided values that no undecided value precedes.
    private(set) var ripeCount = 0
    /// The time of the earliest decision about a ripe value; `.max` if there is none.
    private(set) var ripeSince = Int64.max
    private var free = Node.none
    private var head = Node.none
    private var tail = Node.none
    /// The first undecided value.
    private var undecided = Node.none

    init() {
        self.capacity = 4
        self.nodes = .allocate(capacity: 4)
    }

    deinit { self.nodes.deallocate() }

    /// The key of the first undecided value in the order.
    var first: SlotKey? { self.undecided == Node.none ? nil : self.key(self.undecided) }

    /// Appends a value to the order.
    mutating func append(_ value: Value) -> SlotKey {
        let index = self.takeFree()
        let node = self.nodes + Int(index)
        node.pointee.value = value
        node.pointee.place = .inOrder
        node.pointee.previous = self.tail
        node.pointee.next = Node.none
        if self.tail == Node.none { self.head = index } else { self.nodes[Int(self.tail)].next = index }
        self.tail = index
        if self.undecided == Node.none { self.undecided = index }
        self.count += 1
        self.orderedCount += 1
        return self.key(index)
    }

    private mutating func takeFree() -> UInt32 {
        if self.free != Node.none {
            defer { self.free = self.nodes[Int(self.free)].next }
            return self.free
        }
        if self.used == self.capacity { self.grow() }
        (self.nodes + self.used).initialize(to: Node())
        self.used += 1
        return UInt32(self.used - 1)
    }

    private mutating func grow() {
        let nodes = UnsafeMutablePointer<Node>.allocate(capacity: self.capacity * 2)
        nodes.moveInitialize(from: self.nodes, count: self.used)
        self.nodes.deallocate()
        (self.nodes, self.capacity) = (nodes, self.capacity * 2)
    }

    /// The value; `nil` after its removal.
    subscript(key: SlotKey) -> Value? {
        self.index(key).flatMap { self.nodes[$0].value }
    }

    func isInOrder(_ key: SlotKey) -> Bool {
        self.index(key).map { self.nodes[$0].place == .inOrder } ?? false
    }

    /// Removes a value from the order and returns it; `nil` if it is not in the order.
    mutating func withdraw(_ key: SlotKey) -> Value? {
        guard let index = self.index(key), self.nodes[index].place == .inOrder else { return nil }
        self.unlink(index)
        return self.nodes[index].value
    }

    /// Marks a value in the order as decided and returns it; `nil` if it is not in the order, or decided already.
    mutating func decide(_ key: SlotKey, at time: Int64, _ change: (inout Value) -> Void) -> Value? {
        guard let index = self.index(key), self.nodes[index].place == .inOrder, var value = self.nodes[index].value
        else { return nil }
        change(&value)
        let node = self.nodes + index
        node.pointee.value = value
        node.pointee.time = time
        node.pointee.place = .waiting
        self.orderedCount -= 1
        self.waitingCount += 1
        if self.undecided == UInt32(index) { self.ripen() }
        return value
    }

    /// Moves on to the next undecided value. The values before it are ripe.
    private mutating func ripen() {
        var index = self.undecided
        while index != Node.none, self.nodes[Int(index)].place == .waiting {
            let node = self.nodes + Int(index)
            node.pointee.place = .ripe
            self.waitingCount -= 1
            self.ripeCount += 1
            self.ripeSince = min(self.ripeSince, node.pointee.time)
            index = node.pointee.next
        }
        self.undecided = index
    }

    /// Removes the first value if it is ripe.
    mutating func removeRipe() -> Value? {
        guard self.head != Node.none, self.nodes[Int(self.head)].place == .ripe else { return nil }
        return self.remove(Int(self.head))
    }

    /// Calls `body` with each waiting value, in order, and the time of its decision.
    func forEachWaiting(_ body: (SlotKey, Int64) -> Void) {
        var rest = self.waitingCount
        var index = self.undecided
        while rest > 0, index != Node.none {
            let node = self.nodes[Int(index)]
            if node.place == .waiting {
                body(self.key(index), node.time)
                rest -= 1
            }
            index = node.next
        }
    }

    /// Removes a value.
    @discardableResult
    mutating func remove(_ key: SlotKey) -> Value? { self.index(key).flatMap { self.remove($0) } }

    private mutating func remove(_ index: Int) -> Value? {
        let node = self.nodes + index
        let value = node.pointee.value
        if node.pointee.place != .withdrawn { self.unlink(index) }
        node.pointee.place = .free
        node.pointee.generation &+= 1
        node.pointee.next = self.free
        self.free = UInt32(index)
        self.count -= 1
        return value
    }

    /// Returns the keys of all values outside the order if `withdrawn`, otherwise of all values in the order.
    func keys(withdrawn: Bool) -> [SlotKey] {
        (0..<self.used).compactMap { index in
            let place = self.nodes[index].place
            return place != .free && (place == .withdrawn) == withdrawn ? self.key(UInt32(index)) : nil
        }
    }

    /// Removes all values.
    mutating func removeAll() {
        for index in 0..<self.used where self.nodes[index].place != .free {
            self.remove(self.key(UInt32(index)))
        }
    }

    private mutating func unlink(_ index: Int) {
        let node = self.nodes + index
        let (previous, next) = (node.pointee.previous, node.pointee.next)
        switch node.pointee.place {
        case .inOrder: self.orderedCount -= 1
        case .waiting: self.waitingCount -= 1
        case .ripe:
            self.ripeCount -= 1
            if self.ripeCount == 0 { self.ripeSince = .max }
        case .free, .withdrawn: break
        }
        node.pointee.place = .withdrawn
        if previous == Node.none { self.head = next } else { self.nodes[Int(previous)].next = next }
        if next == Node.none { self.tail = previous } else { self.nodes[Int(next)].previous = previous }
        if self.undecided == UInt32(index) {
            self.undecided = next
            self.ripen()
        }
    }

    private func key(_ index: UInt32) -> SlotKey {
        SlotKey(bitPattern: UInt(self.nodes[Int(index)].generation) << 32 | UInt(index + 1))
    }

    private func index(_ key: SlotKey) -> Int? {
        let bits = key.bitPattern
        let index = Int(UInt32(truncatingIfNeeded: bits) &- 1)
        guard index < self.used else { return nil }
        let node = self.nodes + index
        let isCurrent = node.pointee.generation == UInt32(truncatingIfNeeded: bits >> 32)
        return isCurrent && node.pointee.place != .free ? index : nil
    }
}
