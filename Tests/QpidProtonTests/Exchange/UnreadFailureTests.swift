// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// The counts of failed messages whose outcome no one has read yet.
@Suite struct UnreadFailureTests {
    private func numbers(_ counts: [UnreadFailures]) -> [[Int]] {
        counts.map { [$0.notSent.load(ordering: .relaxed), $0.inDoubt.load(ordering: .relaxed)] }
    }

    @Test func aFailureCountsForTheLinkTheSessionAndTheConnection() {
        let counts = (0..<3).map { _ in UnreadFailures() }
        UnreadFailure(counts: counts, isInDoubt: false).add(1)
        #expect(self.numbers(counts) == [[1, 0], [1, 0], [1, 0]])
        UnreadFailure(counts: counts, isInDoubt: true).add(1)
        #expect(self.numbers(counts) == [[1, 1], [1, 1], [1, 1]])
    }

    @Test func readingSubtractsOnlyItsOwnKind() {
        let counts = [UnreadFailures(), UnreadFailures()]
        let notSent = UnreadFailure(counts: counts, isInDoubt: false)
        let inDoubt = UnreadFailure(counts: counts, isInDoubt: true)
        notSent.add(1)
        inDoubt.add(1)
        notSent.add(-1)
        #expect(self.numbers(counts) == [[0, 1], [0, 1]])
        inDoubt.add(-1)
        #expect(self.numbers(counts) == [[0, 0], [0, 0]])
    }
}
