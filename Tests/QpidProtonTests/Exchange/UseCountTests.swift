// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization
import Testing

@testable import QpidProton

/// The count of uses that one side hands out and another side returns.
@Suite struct UseCountTests {
    private final class Shared: Sendable {
        private let uses = UseCount()

        func done() -> Bool { self.uses.done() }
        func close(after total: Int) -> Bool { self.uses.close(after: total) }
        func restart(after total: Int) -> Bool { self.uses.restart(after: total) }
    }

    @Test func noUseIsTheLastOneBeforeTheClose() {
        let shared = Shared()
        #expect((0..<5).map { _ in shared.done() } == Array(repeating: false, count: 5))
        #expect(shared.close(after: 5))
    }

    @Test func theCloseIsNotTheEndWhileUsesAreOut() {
        let shared = Shared()
        #expect(!shared.done())
        #expect(!shared.close(after: 3))
        #expect([shared.done(), shared.done()] == [false, true])
    }

    @Test func aCountThatWasNeverUsedEndsWithItsClose() {
        let shared = Shared()
        #expect(shared.close(after: 0))
    }

    @Test func aRestartThatIsRefusedChangesNothing() {
        let shared = Shared()
        #expect(shared.restart(after: 0))
        #expect([shared.done(), shared.done()] == [false, false])
        #expect(!shared.restart(after: 3))
        #expect(!shared.done())
        #expect(shared.restart(after: 3))
        // The count starts again from the beginning.
        #expect(!shared.close(after: 1))
        #expect(shared.done())
    }

    /// Several threads return uses while the other side closes.
    @Test func exactlyOneIsTheLast() {
        for _ in 0..<200 {
            let shared = Shared()
            let last = Atomic(0)
            let total = 8
            DispatchQueue.concurrentPerform(iterations: total + 1) { index in
                let isLast = index == total ? shared.close(after: total) : shared.done()
                if isLast { last.add(1, ordering: .relaxed) }
            }
            #expect(last.load(ordering: .relaxed) == 1)
        }
    }
}
