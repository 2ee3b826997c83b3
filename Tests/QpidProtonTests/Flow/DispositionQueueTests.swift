// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// A queue that `#expect` can name, because the queue itself is not copyable.
private final class Queue {
    private var queue = DispositionQueue<Int>()

    var first: SlotKey? { self.queue.first }
    var count: Int { self.queue.count }
    var orderedCount: Int { self.queue.orderedCount }
    var ripeCount: Int { self.queue.ripeCount }
    var waitingCount: Int { self.queue.waitingCount }
    var ripeSince: Int64 { self.queue.ripeSince }

    subscript(key: SlotKey) -> Int? { self.queue[key] }
    func isInOrder(_ key: SlotKey) -> Bool { self.queue.isInOrder(key) }
    func append(_ value: Int) -> SlotKey { self.queue.append(value) }
    func withdraw(_ key: SlotKey) -> Int? { self.queue.withdraw(key) }
    func decide(_ key: SlotKey, at time: Int64, _ change: (inout Int) -> Void) -> Int? {
        self.queue.decide(key, at: time, change)
    }
    func removeRipe() -> Int? { self.queue.removeRipe() }
    @discardableResult func remove(_ key: SlotKey) -> Int? { self.queue.remove(key) }
    func removeAll() { self.queue.removeAll() }
    func forEachWaiting(_ body: (SlotKey, Int64) -> Void) { self.queue.forEachWaiting(body) }
}

/// Values by key and in order, compared with a plain model.
@Suite struct DispositionQueueTests {
    private struct Entry {
        let key: SlotKey
        let value: Int
        var isInOrder = true
        var time: Int64?
        var isUndecided: Bool { self.isInOrder && self.time == nil }
    }

    @Test func matchesAModelInRandomSteps() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let slots = Queue()
        var model: [Entry] = []
        var gone: [SlotKey] = []
        for step in 0..<5_000 {
            let index = model.indices.randomElement(using: &random)
            switch (Int.random(in: 0..<8, using: &random), index) {
            case (0...2, _), (_, nil):
                if model.count < 50 || step.isMultiple(of: 7) {
                    model.append(Entry(key: slots.append(step), value: step))
                }
            case (3, let index?):
                #expect(slots.remove(model[index].key) == model[index].value)
                gone.append(model.remove(at: index).key)
            case (4, let index?):
                let entry = model[index]
                #expect(slots.withdraw(entry.key) == (entry.isUndecided ? entry.value : nil))
                if entry.isUndecided { model[index].isInOrder = false }
            case (5, let index?):
                let entry = model[index]
                #expect(slots.decide(entry.key, at: Int64(step)) { $0 += 0 } == (entry.isUndecided ? entry.value : nil))
                if entry.isUndecided { model[index].time = Int64(step) }
            case (6, _):
                let first = model.firstIndex { $0.isInOrder }
                let ripe = first.flatMap { model[$0].time == nil ? nil : $0 }
                #expect(slots.removeRipe() == ripe.map { model[$0].value })
                if let ripe { gone.append(model.remove(at: ripe).key) }
            case (_, let index?):
                #expect(slots[model[index].key] == model[index].value)
                #expect(slots.isInOrder(model[index].key) == model[index].isUndecided)
            }
            let ordered = model.filter { $0.isInOrder }
            let ripe = ordered.prefix { $0.time != nil }
            let waiting = ordered.dropFirst(ripe.count).filter { $0.time != nil }
            #expect(slots.count == model.count)
            #expect(slots.first == model.first { $0.isUndecided }?.key)
            #expect(slots.orderedCount == model.count { $0.isUndecided })
            #expect(slots.ripeCount == ripe.count && slots.waitingCount == waiting.count)
            #expect(slots.ripeSince <= ripe.compactMap(\.time).min() ?? .max)
            #expect((slots.ripeSince == .max) == ripe.isEmpty)
            var seen: [SlotKey] = []
            slots.forEachWaiting { key, time in
                seen.append(key)
                #expect(waiting.contains { $0.key == key && $0.time == time })
            }
            #expect(seen == waiting.map(\.key))
        }
        for key in gone {
            #expect(slots[key] == nil && slots.remove(key) == nil && slots.withdraw(key) == nil)
        }
        while let first = slots.first {
            #expect(slots.remove(first) == model.first { $0.isUndecided }?.value)
            model.removeAll { $0.key == first }
        }
        slots.removeAll()
        #expect(slots.count == 0 && slots.ripeCount == 0 && slots.waitingCount == 0 && slots.orderedCount == 0)
        for entry in model { #expect(slots[entry.key] == nil) }
    }

    @Test func aKeyOfAnEmptySlotFindsNoValue() {
        let slots = Queue()
        let key = slots.append(5)
        #expect(slots[SlotKey(bitPattern: 2)] == nil)
        #expect(slots[SlotKey(bitPattern: 1 << 32 | 1)] == nil)
        #expect(slots[key] == 5 && key.bitPattern != 0)
    }
}
