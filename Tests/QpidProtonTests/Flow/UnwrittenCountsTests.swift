// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// Counts that belong to the write that carries them.
@Suite(.deadline)
struct UnwrittenCountsTests {
    @Test func countsStayUntilTheirWriteIsDone() {
        var writes = WriteNumbers()
        var counts = UnwrittenCounts()
        #expect(writes.isIdle && counts.left(writes) == 0)
        counts.add(3, writes)
        counts.add(2, writes)
        #expect(counts.left(writes) == 5)
        writes.issue()
        counts.add(10, writes)
        #expect(!writes.isIdle && counts.left(writes) == 15)
        writes.end(1, isDone: true)
        #expect(writes.isIdle && counts.left(writes) == 10)
        writes.issue()
        writes.issue()
        counts.add(1, writes)
        writes.issue()
        writes.end(1, isDone: true)
        #expect(counts.left(writes) == 1)
        writes.end(1, isDone: true)
        writes.end(1, isDone: false)
        #expect(writes.isIdle && counts.left(writes) == 1)
    }

    /// Compares the counts with a list of all items.
    @Test func countsAgreeWithAPlainList() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        var writes = WriteNumbers()
        var counts = UnwrittenCounts()
        var things: [Int] = []
        for _ in 0..<10_000 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1:
                let count = Int.random(in: 0...3, using: &random)
                counts.add(count, writes)
                things += Array(repeating: writes.issued + 1, count: count)
            case 2: writes.issue()
            default: if !writes.isIdle { writes.end(1, isDone: true) }
            }
            #expect(counts.left(writes) == things.count { $0 > writes.done })
        }
    }
}
