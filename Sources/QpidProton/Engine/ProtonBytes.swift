internal import Synchronization

/// Proton's own count of the bytes of a session, where any task can read it. The loop writes it.
final class ProtonBytes: Sendable {
    private let count = Atomic(0)

    var value: Int { self.count.load(ordering: .relaxed) }

    func set(_ count: Int) { self.count.store(count, ordering: .relaxed) }
}
