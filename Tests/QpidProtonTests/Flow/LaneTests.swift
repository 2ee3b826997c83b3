// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The choice of the next lane: priorities, the share of the low ones, and weights.
@Suite struct LaneTests {
    private let made = MadeMessages()
    private static let quantum = SendQueue<String>.quantum

    /// Fills a lane with more messages than a test moves.
    private func fill(_ queue: inout SendQueue<String>, _ lane: SendQueue<String>.Lane, count: Int = 200) {
        queue.setCredit(count, on: lane)
        queue.enqueue((0..<count).map { _ in self.made.make(10_000) }, on: lane)
    }

    /// Moves about `bytes` bytes, as the pump does. Returns the bytes of each link.
    private func move(_ queue: inout SendQueue<String>, bytes: Int) -> [String: Int] {
        var moved: [String: Int] = [:]
        var left = bytes
        while left > 0, let lane = queue.nextLane() {
            let turn = queue.hasReadyLane ? min(lane.allowance, left) : left
            var used = 0
            while used < turn, let slice = lane.next(limit: turn - used) { used += slice.range.count }
            moved[lane.link, default: 0] += used
            left -= used
            queue.yield(lane, used: used)
        }
        return moved
    }

    @Test func aHigherPriorityIsSentFirst() {
        var queue = SendQueue<String>()
        let lanes = [(0, "low"), (4, "mid"), (9, "high")].map { queue.addLane($0.1, priority: $0.0) }
        for lane in lanes { self.fill(&queue, lane, count: 10) }
        #expect(self.move(&queue, bytes: 100_000) == ["high": 100_000])
        #expect(self.move(&queue, bytes: 50_000) == ["mid": 50_000])
        // A higher priority also interrupts the messages of the others.
        queue.setCredit(1, on: lanes[2])
        queue.enqueue([self.made.make(100)], on: lanes[2])
        #expect(self.move(&queue, bytes: 60_000) == ["high": 100, "mid": 50_000, "low": 9_900])
    }

    @Test func aLaneThatCannotMoveCostsNothing() {
        var queue = SendQueue<String>(lowShare: 0.05)
        let high = queue.addLane("high", priority: 9)
        let low = queue.addLane("low", priority: 0)
        queue.enqueue([self.made.make(100)], on: high)
        self.fill(&queue, low)
        #expect(self.move(&queue, bytes: 500_000) == ["low": 500_000])
        queue.setCredit(1, on: high)
        #expect(self.move(&queue, bytes: 100) == ["high": 100])
        self.fill(&queue, high)
        queue.setBlocked(true, on: high)
        #expect(self.move(&queue, bytes: 500_000) == ["low": 500_000])
    }

    @Test(arguments: [0.05, 0.2, 0.5]) func lowPrioritiesHaveTheirShare(_ share: Double) {
        var queue = SendQueue<String>(lowShare: share)
        let lanes = [(0, "a"), (3, "b"), (9, "high")].map { queue.addLane($0.1, priority: $0.0) }
        for lane in lanes { self.fill(&queue, lane, count: 1_000) }
        let total = 4_000_000
        let moved = self.move(&queue, bytes: total)
        // A share may be early or late by one quantum.
        let slack = 4 * Self.quantum
        let low = (moved["a"] ?? 0) + (moved["b"] ?? 0)
        #expect(abs(low - Int(share * Double(total))) <= slack)
        #expect(abs((moved["a"] ?? 0) - (moved["b"] ?? 0)) <= slack)
    }

    @Test func weightsShareAPriority() {
        var queue = SendQueue<String>()
        let lanes = [1, 2, 5].map { queue.addLane("\($0)", weight: $0) }
        for lane in lanes { self.fill(&queue, lane, count: 1_000) }
        // The sizes of the moves do not fit the turns.
        var moved: [String: Int] = [:]
        for _ in 0..<200 { moved.merge(self.move(&queue, bytes: 32_768), uniquingKeysWith: +) }
        let total = 200 * 32_768
        for weight in [1, 2, 5] {
            #expect(abs((moved["\(weight)"] ?? 0) - total * weight / 8) <= 8 * Self.quantum)
        }
    }

    @Test func aRemovedLaneLeavesNoTrace() {
        var queue = SendQueue<String>()
        let high = queue.addLane("high", priority: 9)
        let low = queue.addLane("low", priority: 0)
        for lane in [high, low] { self.fill(&queue, lane, count: 2) }
        _ = queue.removeLane(high)
        #expect(self.move(&queue, bytes: 1_000_000) == ["low": 20_000])
        #expect(!queue.hasReadyLane)
    }
}
