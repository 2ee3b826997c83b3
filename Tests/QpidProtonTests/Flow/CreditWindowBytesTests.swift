// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// Credit that is granted in bytes.
struct CreditWindowBytesTests {
    @Test func theFirstCreditIsCautious() {
        var window = CreditWindow(.bytes(1_000_000))
        #expect(window.topUp() == 4)
        var small = CreditWindow(.bytes(1_000_000), maxMessageSize: 10_000)
        #expect(small.topUp() == 100)
        var tiny = CreditWindow(.bytes(1))
        #expect(tiny.budget == CreditWindow.leastSize)
        #expect(tiny.topUp() == 1)
    }

    @Test func theExpectedSizeGrowsAtOnceAndShrinksSlowly() {
        var window = CreditWindow(.bytes(1_000_000))
        func take(_ size: Int) {
            _ = window.grant(1)
            _ = window.arrive()
            window.free(1, bytes: window.complete(size))
        }
        for _ in 0..<200 { take(100) }
        // Steps of one sixteenth in whole numbers bring the expected size close to the minimum.
        #expect(window.expectedSize < CreditWindow.leastSize + 16)
        take(500_000)
        #expect(window.expectedSize == 500_000)
        take(100)
        #expect(window.expectedSize > 400_000)
        #expect(window.held == 0)
        #expect(window.heldBytes == 0)
    }

    /// The held bytes, plus the expected bytes of the credit at the time of the grant, stay within the budget.
    @Test func creditStaysInsideTheBudget() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let budget = Int.random(in: 256...100_000, using: &random)
            var window = CreditWindow(.bytes(budget))
            var held: [Int] = []
            for _ in 0..<300 {
                switch Int.random(in: 0..<4, using: &random) {
                case 0, 1:
                    let size = Int.random(in: 0...min(5_000, budget), using: &random)
                    guard size <= window.room(after: 0), window.arrive() else { break }
                    held.append(window.complete(size))
                case 2 where !held.isEmpty:
                    window.free(1, bytes: held.remove(at: Int.random(in: held.indices, using: &random)))
                default: window.starve()
                }
                let granted = window.topUp()
                if granted > 0 {
                    #expect(window.heldBytes + window.outstanding * window.expectedSize <= budget)
                }
                #expect(window.heldBytes == held.reduce(0, +))
            }
            // Once all messages are released, there is credit for at least one.
            for bytes in held { window.free(1, bytes: bytes) }
            window.starve()
            #expect(window.topUp() + window.outstanding > 0)
        }
    }
}
