// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// The writes of a connection, numbered in order. They end in the same order.
struct WriteNumbers {
    /// The last write that the socket has received.
    private(set) var issued = 0
    /// The last write that the socket has accepted completely.
    private(set) var done = 0
    private var failed = 0

    /// The write that carries the next frames.
    var next: Int { self.issued + 1 }
    /// Whether no write is in progress.
    var isIdle: Bool { self.issued == self.done + self.failed }

    mutating func issue() { self.issued += 1 }

    mutating func end(_ count: Int, isDone: Bool) {
        if isDone { self.done += count } else { self.failed += count }
    }
}

/// The number of dispositions in each write, until the write is complete.
struct UnwrittenCounts {
    /// The latest write, and its count.
    private var write = 0
    /// The last write that carries a disposition; 0 before the first.
    var lastWrite: Int { self.count > 0 ? self.write : self.earlier.last?.write ?? 0 }
    private var count = 0
    private var earlier: Deque<(write: Int, count: Int)> = []

    /// Counts dispositions in the next write.
    @inline(__always)
    mutating func add(_ count: Int, _ writes: WriteNumbers) {
        if self.write != writes.next { self.begin(writes) }
        self.count += count
    }

    private mutating func begin(_ writes: WriteNumbers) {
        while let first = self.earlier.first, first.write <= writes.done { self.earlier.removeFirst() }
        if self.count > 0, self.write > writes.done { self.earlier.append((self.write, self.count)) }
        (self.write, self.count) = (writes.next, 0)
    }

    /// Returns the count of the incomplete writes.
    func left(_ writes: WriteNumbers) -> Int {
        let latest = self.write > writes.done ? self.count : 0
        return self.earlier.reduce(latest) { $1.write > writes.done ? $0 + $1.count : $0 }
    }
}
