// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// Counts the attempts of messages returned to a peer that keeps no count. The number of counts is limited.
///
/// A message is identified by a hash of its id, or of its contents. Equal messages without ids share their counts: each
/// arrival uses one, the lowest first.
struct AttemptMemory: Sendable {
    private struct Entry {
        let number: UInt64
        let attempts: Int
    }

    private let limit: Int
    private var entries: [Int: [Entry]] = [:]
    private var order: Deque<(hash: Int, number: UInt64)> = []
    private var next: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    var isEmpty: Bool { self.entries.isEmpty }
    /// The number of places in use.
    var count: Int { self.order.count }

    /// Records that a message was returned after this many attempts. Forgets the oldest message beyond the limit.
    mutating func note(_ hash: Int, attempts: Int) {
        guard self.limit > 0 else { return }
        self.entries[hash, default: []].append(Entry(number: self.next, attempts: attempts))
        self.order.append((hash, self.next))
        self.next += 1
        while self.order.count > self.limit, let oldest = self.order.popFirst() {
            self.remove(oldest.hash) { $0.number == oldest.number }
        }
    }

    /// Returns and forgets the number of earlier attempts of a message.
    mutating func take(_ hash: Int) -> Int {
        guard let lowest = self.entries[hash]?.min(by: { $0.attempts < $1.attempts }) else { return 0 }
        self.remove(hash) { $0.number == lowest.number }
        if self.entries.isEmpty { self.order = [] }
        return lowest.attempts
    }

    private mutating func remove(_ hash: Int, where isIt: (Entry) -> Bool) {
        self.entries[hash]?.removeAll(where: isIt)
        if self.entries[hash]?.isEmpty == true { self.entries[hash] = nil }
    }
}
