// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

@Suite struct WaitListTests {
    @Test func keepsTheOrder() {
        var list = WaitList<Int, String>()
        #expect(list.isEmpty && list.first == nil)
        list.append(1, "a")
        list.append(2, "b")
        list.prepend(3, "c")
        #expect(list.first?.waiter == "c" && list.contains(2) && !list.contains(4))
        #expect(list.popFirst() == "c")
        #expect(list.remove(2) == "b")
        #expect(list.remove(2) == nil)
        #expect(list.popFirst() == "a")
        #expect(list.popFirst() == nil && list.remove(1) == nil && list.isEmpty)
    }

    @Test func removesAllElementsAtOnce() {
        var list = WaitList<Int, Int>()
        for id in 1...3 { list.append(id, id * 10) }
        var all: [Int] = []
        list.takeAll().forEach { all.append($0) }
        #expect(all == [10, 20, 30])
        #expect(list.isEmpty)
    }

    /// Compares the list with an array.
    @Test func randomSteps() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var list = WaitList<Int, Int>()
            var model: [Int] = []
            for id in 0..<40 {
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1:
                    list.append(id, id)
                    model.append(id)
                case 2:
                    list.prepend(id, id)
                    model.insert(id, at: 0)
                case 3:
                    #expect(list.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
                default:
                    let wanted = Int.random(in: 0...id, using: &random)
                    let index = model.firstIndex(of: wanted)
                    #expect(list.contains(wanted) == (index != nil))
                    #expect(list.remove(wanted) == index.map { model.remove(at: $0) })
                }
                #expect(list.isEmpty == model.isEmpty && list.first?.id == model.first)
            }
            var rest: [Int] = []
            list.forEach { rest.append($0) }
            #expect(rest == model, "QPID_PROTON_SEED=\(seed)")
        }
    }
}
