// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The counts of unread failures of messages whose link ended outside of a close.
final class UnreadFailures: Sendable {
    let notSent = Atomic(0)
    let inDoubt = Atomic(0)
}

/// A failed message. It counts for its link, its session and its connection until its outcome is read.
struct UnreadFailure: Sendable {
    let counts: [UnreadFailures]
    let isInDoubt: Bool

    func add(_ change: Int) {
        for count in self.counts {
            if self.isInDoubt {
                count.inDoubt.add(change, ordering: .relaxed)
            } else {
                count.notSent.add(change, ordering: .relaxed)
            }
        }
    }
}
