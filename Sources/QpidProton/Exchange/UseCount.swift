// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The count of uses that one side hands out and another side ends. It reports the end of the last use once.
///
/// Handing out changes no shared state: that side counts its uses alone and adds the total at the close. Until then the
/// balance is negative, so that no end of a use makes it 0.
struct UseCount: ~Copyable, Sendable {
    private let balance = Atomic(0)

    /// Ends a use. Returns whether it was the last use after the close.
    func done() -> Bool {
        self.balance.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
    }

    /// Closes the count after `total` uses. Returns whether no use is left.
    func close(after total: Int) -> Bool {
        self.balance.add(total, ordering: .acquiringAndReleasing).newValue == 0
    }

    /// Returns whether all uses so far have ended. If so, the count starts again.
    func restart(after total: Int) -> Bool {
        guard self.balance.load(ordering: .acquiring) == -total else { return false }
        self.balance.store(0, ordering: .relaxed)
        return true
    }
}
