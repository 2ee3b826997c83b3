internal import DequeModule

/// The writes of a connection, numbered in their order. They end in this order too.
struct WriteNumbers {
    /// The last write that was handed to the socket.
    private(set) var issued = 0
    /// The last write that the socket took as a whole.
    private(set) var done = 0
    private var failed = 0

    /// The write that carries what is framed next.
    var next: Int { self.issued + 1 }
    /// No write is on its way.
    var isIdle: Bool { self.issued == self.done + self.failed }

    mutating func issue() { self.issued += 1 }

    mutating func end(_ count: Int, isDone: Bool) {
        if isDone { self.done += count } else { self.failed += count }
    }
}

/// Counts things by the write that carries them, until that write is done.
struct UnwrittenCounts {
    /// The latest write, and its count.
    private var write = 0
    /// The last write that carries one; 0 before the first.
    var lastWrite: Int { self.count > 0 ? self.write : self.earlier.last?.write ?? 0 }
    private var count = 0
    private var earlier: Deque<(write: Int, count: Int)> = []

    /// Counts things that the next write carries.
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

    /// The count of the writes that are not done.
    func left(_ writes: WriteNumbers) -> Int {
        let latest = self.write > writes.done ? self.count : 0
        return self.earlier.reduce(latest) { $1.write > writes.done ? $0 + $1.count : $0 }
    }
}
