internal import Synchronization

/// The messages that failed because their link ended while no close ran, and whose outcome no one has read.
final class UnreadFailures: Sendable {
    let notSent = Atomic(0)
    let inDoubt = Atomic(0)
}

/// A failed message, where it is counted until its outcome is read: for its link, its session and its connection.
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
