// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Counts uses that one side hands out and another returns, and reports the return of the last one once.
///
/// Handing out is free: that side keeps the number for itself and reports it at the end. Until then the balance is
/// negative, so that no return looks like the last.
struct UseCount: ~Copyable, Sendable {
    private let balance = Atomic(0)

    /// Returns a use. The result is whether no use is left, and none will follow.
    func done() -> Bool {
        self.balance.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
    }

    /// Ends the handing out. The result is whether no use is left.
    func close(after total: Int) -> Bool {
        self.balance.add(total, ordering: .acquiringAndReleasing).newValue == 0
    }

    /// Returns whether all uses so far have returned. Handing out can start again then.
    func restart(after total: Int) -> Bool {
        guard self.balance.load(ordering: .acquiring) == -total else { return false }
        self.balance.store(0, ordering: .relaxed)
        return true
    }
}
