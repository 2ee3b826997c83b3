// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// The ledgers and the gate before the send queue.
@Suite struct SendGateTests {
    @Test func aLedgerAdmitsUpToTheHighMark() {
        var ledger = ByteLedger(high: 100, low: 40)
        #expect(ledger.admits(100))
        #expect(ledger.admits(1_000))
        ledger.add(60)
        #expect(ledger.admits(40))
        #expect(!ledger.admits(41))
        ledger.refuse(100, mayWait: true, isWaiting: true)
        #expect(!ledger.admits(1))
        #expect(ledger.remove(19) == false)
        #expect(ledger.remove(1) == true)
        #expect(ledger.admits(60) == true)
        #expect(ledger.peak == 60)
    }

    @Test func aLedgersMarksAreMadeToFit() {
        #expect(ByteLedger(high: 0, low: 5).high == 1)
        #expect(ByteLedger(high: 10, low: 50).low == 10)
        #expect(ByteLedger(high: 10, low: -5).low == 0)
        #expect(ByteLedger(high: .max, low: .max).admits(.max))
    }

    @Test func itemsOfALinkPassInOrder() {
        var gate = SendGate<Int>()
        let link = gate.addLevel(ByteLedger(high: 100, low: 50), parent: nil)
        #expect(gate.admit(100, at: link) == .admitted)
        #expect(gate.admit(1, at: link) == .full(.link))
        for id in 1...4 { gate.wait(id, id: UInt64(id), bytes: id == 2 ? 90 : 10, at: link) }
        #expect(gate.admit(1, at: link) == .full(.link))
        #expect(gate.release(40, at: link) == [])
        // The first item passes. The second is too large, and the third must not overtake it.
        #expect(gate.release(20, at: link) == [1])
        #expect(gate.release(30, at: link) == [])
        #expect(gate.release(10, at: link) == [2])
        #expect(gate.ledger(link)?.used == 100)
        #expect(gate.release(100, at: link) == [3, 4])
    }

    /// The holder of a prepaid link's messages counts them in the budget.
    @Test func aPrepaidLinkDoesNotCountInTheBudget() {
        let budget = AMQPMemoryBudget(limit: 100)
        var gate = SendGate<Int>()
        gate.share = BudgetShare(budget, id: ObjectIdentifier(budget)) {}
        let session = gate.addLevel(ByteLedger(high: 250, low: 50), parent: nil)
        let prepaid = gate.addLevel(ByteLedger(high: .max, low: .max), parent: session, isPrepaid: true)
        let plain = gate.addLevel(ByteLedger(high: .max, low: .max), parent: session)
        #expect(gate.admit(100, at: plain) == .admitted && gate.admit(150, at: prepaid) == .admitted)
        #expect(budget.used == 100 && gate.ledger(session)?.used == 250)
        gate.wait(1, id: 1, bytes: 20, at: prepaid)
        #expect(gate.first(at: prepaid)?.level == .session && gate.shortage(at: prepaid) == 20)
        #expect(gate.replace(30, at: prepaid).replaced == 1)
        #expect(gate.release(140, at: prepaid) == [] && budget.used == 100)
        #expect(gate.release(100, at: plain) == [])
        gate.share?.takeRepayment()?.pay()
        #expect(budget.used == 0)
    }

    @Test func linksTakeTurns() {
        var gate = SendGate<String>()
        let session = gate.addLevel(ByteLedger(high: 10, low: 0), parent: nil)
        let links = (0..<3).map { _ in gate.addLevel(ByteLedger(high: .max, low: .max), parent: session) }
        #expect(gate.admit(10, at: links[0]) == .admitted)
        for round in 0..<3 {
            for (index, link) in links.enumerated() {
                gate.wait("\(index).\(round)", id: UInt64(round), bytes: 10, at: link)
            }
        }
        var order: [String] = []
        var holder = links[0]
        while order.count < 9 {
            let passed = gate.release(10, at: holder)
            #expect(passed.count == 1)
            guard let first = passed.first, let index = Int(first.prefix(1)) else { break }
            order.append(first)
            holder = links[index]
        }
        #expect(order == ["0.0", "1.0", "2.0", "0.1", "1.1", "2.1", "0.2", "1.2", "2.2"])
    }

    @Test func removingTheHeadLetsLaterItemsPass() {
        var gate = SendGate<Int>()
        let session = gate.addLevel(ByteLedger(high: 100, low: 100), parent: nil)
        let first = gate.addLevel(ByteLedger(high: .max, low: .max), parent: session)
        let second = gate.addLevel(ByteLedger(high: .max, low: .max), parent: session)
        #expect(gate.admit(10, at: first) == .admitted)
        gate.wait(1, id: 1, bytes: 100, at: first)
        gate.wait(2, id: 2, bytes: 10, at: first)
        gate.wait(3, id: 3, bytes: 10, at: second)
        let (cancelled, admitted) = gate.cancel(1, at: first)
        #expect(cancelled == 1)
        #expect(admitted.sorted() == [2, 3])
        #expect(gate.cancel(1, at: first).cancelled == nil)
        #expect(gate.ledger(session)?.used == 30)
    }

    @Test func aClosedLevelReleasesItsBytes() {
        var gate = SendGate<Int>()
        let session = gate.addLevel(ByteLedger(high: 100, low: 50), parent: nil)
        let link = gate.addLevel(ByteLedger(high: .max, low: .max), parent: session)
        #expect(gate.admit(80, at: link) == .admitted)
        gate.wait(1, id: 1, bytes: 80, at: link)
        let closed = gate.closeLevel(link)
        #expect(closed.refused == [1] && closed.admitted == [])
        #expect(!gate.isOpen(link))
        #expect(gate.admit(1, at: link) == .closed)
        #expect(gate.ledger(link)?.used == 80)
        #expect(gate.release(80, at: link) == [])
        #expect(gate.ledger(link) == nil)
        #expect(gate.ledger(session)?.used == 0)
        #expect(gate.release(80, at: link) == [])
        #expect(gate.ledger(session)?.used == 0)
    }

    /// Compares the gate with a model without ledgers: the sums, the order, and that no item waits that could pass.
    @Test func randomSteps() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 { self.run(&random) }
    }

    private struct Link {
        let node: SlotKey
        var waiting: [Int] = []
        var admitted: [Int] = []
        var isClosed = false
    }

    private func run(_ random: inout SeededGenerator) {
        var gate = SendGate<Int>()
        let high = Int.random(in: 1...200, using: &random)
        let low = Int.random(in: 0...high, using: &random)
        let root = gate.addLevel(ByteLedger(high: .max, low: .max), parent: nil)
        let session = gate.addLevel(ByteLedger(high: high, low: low), parent: root)
        var links = (0..<3).map { _ in
            let high = Int.random(in: 1...200, using: &random)
            return Link(node: gate.addLevel(ByteLedger(high: high, low: high / 2), parent: session))
        }
        var sizes: [Int: Int] = [:]
        var owner: [Int: Int] = [:]
        var next = 0
        func pass(_ ids: [Int]) {
            for id in ids {
                guard let link = owner[id] else { continue }
                #expect(links[link].waiting.first == id)
                links[link].waiting.removeFirst()
                links[link].admitted.append(id)
            }
        }
        for _ in 0..<120 {
            let index = Int.random(in: 0..<links.count, using: &random)
            let node = links[index].node
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                guard !links[index].isClosed else {
                    #expect(gate.admit(1, at: node) == .closed)
                    continue
                }
                next += 1
                sizes[next] = Int.random(in: 1...120, using: &random)
                owner[next] = index
                if gate.admit(sizes[next] ?? 0, at: node) == .admitted {
                    #expect(links[index].waiting.isEmpty)
                    links[index].admitted.append(next)
                } else {
                    gate.wait(next, id: UInt64(next), bytes: sizes[next] ?? 0, at: node)
                    links[index].waiting.append(next)
                }
            case 5..<8:
                guard !links[index].admitted.isEmpty else { continue }
                let id = links[index].admitted.removeFirst()
                pass(gate.release(sizes[id] ?? 0, at: node))
            case 8:
                guard let id = links[index].waiting.randomElement(using: &random) else { continue }
                let (cancelled, admitted) = gate.cancel(UInt64(id), at: node)
                #expect(cancelled == id)
                links[index].waiting.removeAll { $0 == id }
                pass(admitted)
            default:
                guard Int.random(in: 0..<10, using: &random) == 0, !links[index].isClosed else { continue }
                let closed = gate.closeLevel(node)
                #expect(closed.refused == links[index].waiting)
                links[index].waiting = []
                links[index].isClosed = true
                pass(closed.admitted)
            }
            let used = links.reduce(0) { $0 + $1.admitted.reduce(0) { $0 + (sizes[$1] ?? 0) } }
            #expect(gate.ledger(session)?.used == used)
            #expect(gate.ledger(root)?.used == used)
            // No wake-up is lost: items wait only while bytes are in use.
            if used == 0 { #expect(links.allSatisfy { $0.waiting.isEmpty }) }
        }
        // Every item passes once all admitted bytes are released.
        while let index = links.indices.first(where: { !links[$0].admitted.isEmpty }) {
            let id = links[index].admitted.removeFirst()
            pass(gate.release(sizes[id] ?? 0, at: links[index].node))
        }
        #expect(links.allSatisfy { $0.waiting.isEmpty })
        #expect(gate.ledger(session)?.used == 0)
    }

    /// An automatic limit holds back items that may wait, and no others.
    @Test func anAutomaticLimitFallsForItemsThatMayWait() throws {
        var gate = SendGate<Int>()
        let link = gate.addLevel(ByteLedger(high: 1_000_000, low: 900_000), parent: nil, isAutomatic: true)
        while gate.admit(1_000, at: link, mayWait: true) == .admitted {}
        #expect(gate.ledger(link)?.used == 1_000_000)
        gate.wait(0, id: 0, bytes: 1_000, at: link)
        var id: UInt64 = 0
        for step in 1...1_500 {
            let released = min(10_000, gate.ledger(link)?.used ?? 0)
            let wasWaiting = gate.hasWaiters(link)
            var passed = gate.release(released, at: link)
            let left = gate.ledger(link)?.used ?? 0
            let now = Int64(step) * 1_000_000
            passed += gate.tune(link, released: released, left: left, wasWaiting: wasWaiting, credit: 0, at: now)
            for _ in passed {
                // The task admits items until it has to wait.
                while gate.admit(1_000, at: link, mayWait: true) == .admitted {}
                id += 1
                gate.wait(0, id: id, bytes: 1_000, at: link)
            }
        }
        #expect(gate.tunedLimit(link) == AdmissionTuner.least)
        #expect((gate.ledger(link)?.used ?? .max) <= AdmissionTuner.least)
        _ = gate.cancel(id, at: link)
        while gate.admit(1_000, at: link, mayWait: true) == .admitted {}
        #expect(gate.ledger(link)?.used == 32_000)
        #expect(gate.admit(900_000, at: link) == .admitted)
        #expect(gate.admit(900_000, at: link) == .full(.link))
        #expect(gate.ledger(link)?.used == 932_000)
        // Released bytes make room for items that may wait only when the sum has fallen to their low mark.
        _ = gate.release(900_000, at: link)
        #expect(gate.admit(1_000, at: link, mayWait: true) == .full(.link))
        _ = gate.release(4_000, at: link)
        #expect(gate.admit(1_000, at: link, mayWait: true) == .admitted)
    }
}
