internal import Synchronization

/// Counts uses that one side hands out and another gives back, and tells once that the last is back.
///
/// Handing out costs nothing: that side keeps the number for itself and tells it at the end. Until then the balance is
/// negative, so that it cannot seem to be the last.
struct UseCount: ~Copyable, Sendable {
    private let balance = Atomic(0)

    /// Gives a use back. Returns whether nothing is in use any more, and nothing more will be.
    func done() -> Bool {
        self.balance.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
    }

    /// Ends the handing out. Returns whether nothing is in use any more.
    func close(after total: Int) -> Bool {
        self.balance.add(total, ordering: .acquiringAndReleasing).newValue == 0
    }

    /// Whether all that were handed out so far are back; it can be begun again then.
    func restart(after total: Int) -> Bool {
        guard self.balance.load(ordering: .acquiring) == -total else { return false }
        self.balance.store(0, ordering: .relaxed)
        return true
    }
}
