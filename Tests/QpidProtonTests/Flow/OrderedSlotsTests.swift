import Testing

@testable import QpidProton

/// Values by key and in order, beside a plain model of them.
@Suite struct OrderedSlotsTests {
    @Test func stepsAreThoseOfAModel() {
        let seed = UInt64.random(in: .min ... .max)
        print("OrderedSlotsTests: seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let slots = OrderedSlots<Int>()
        var model: [(key: SlotKey, value: Int, isInOrder: Bool)] = []
        var gone: [SlotKey] = []
        for step in 0..<20_000 {
            let index = model.indices.randomElement(using: &random)
            switch (Int.random(in: 0..<5, using: &random), index) {
            case (0...1, _), (_, nil):
                if model.count < 50 || step.isMultiple(of: 7) { model.append((slots.append(step), step, true)) }
            case (2, let index?):
                #expect(slots.remove(model[index].key) == model[index].value)
                gone.append(model.remove(at: index).key)
            case (3, let index?):
                #expect(slots.withdraw(model[index].key) == (model[index].isInOrder ? model[index].value : nil))
                model[index].isInOrder = false
            case (_, let index?):
                #expect(slots[model[index].key] == model[index].value)
                #expect(slots.isInOrder(model[index].key) == model[index].isInOrder)
            }
            #expect(slots.count == model.count)
            #expect(slots.first == model.first { $0.isInOrder }?.key)
        }
        for key in gone {
            #expect(slots[key] == nil && slots.remove(key) == nil && slots.withdraw(key) == nil)
        }
        while let first = slots.first {
            #expect(slots.remove(first) == model.first { $0.isInOrder }?.value)
            model.removeAll { $0.key == first }
        }
        slots.removeAll()
        #expect(slots.count == 0)
        for entry in model { #expect(slots[entry.key] == nil) }
    }

    @Test func aKeyOfNothingFindsNothing() {
        let slots = OrderedSlots<Int>()
        let key = slots.append(5)
        #expect(slots[SlotKey(bitPattern: 2)] == nil)
        #expect(slots[SlotKey(bitPattern: 1 << 32 | 1)] == nil)
        #expect(slots[key] == 5 && key.bitPattern != 0)
    }
}
