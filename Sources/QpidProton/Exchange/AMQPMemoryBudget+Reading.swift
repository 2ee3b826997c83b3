internal import Synchronization

// What connections that share a budget read of their sockets at the same time fits into it too: room for a read is taken
// before it is made.

extension AMQPMemoryBudget {
    /// Who reads, and who waits to.
    struct Readers: Sendable {
        /// What all may read without room, when a socket has become readable and there is none: see ``margin``.
        fileprivate var margins = 0
        fileprivate var waiting: [ID: (room: Int, callback: @Sendable () -> Void)] = [:]
    }

    /// The least room with which a socket is read.
    static let leastRead = 2_048
    /// What is read where there is no room: a socket that is readable cannot be asked for nothing.
    static let margin = 512

    /// A connection reads from here on.
    ///
    /// - Parameter margin: The most that one read may bring without room.
    func joinReaders(margin: Int) {
        self.state.withLock { $0.readers.margins += margin }
    }

    /// It reads no more. The caller must hold no lock.
    func leaveReaders(_ id: ID, margin: Int) {
        let callbacks = self.state.withLock { state in
            state.readers.margins -= margin
            state.readers.waiting[id] = nil
            return self.takeReaders(&state)
        }
        for callback in callbacks { callback() }
    }

    /// It may bring so much more, or less, without room.
    func moveMargin(by difference: Int) {
        self.state.withLock { $0.readers.margins += difference }
    }

    /// Takes room for a read of at most that many bytes, in place of what was taken for the last.
    ///
    /// - Parameter incomplete: Bytes of a frame that the read may complete, and that are not counted before.
    /// - Returns: How many bytes may be read, and for how many room was taken.
    func reserveRead(_ bytes: Int, completing incomplete: Int, insteadOf last: Int) -> (read: Int, taken: Int) {
        self.state.withLock { state in
            state.used -= last
            let room = self.readRoom(state) - self.bounded(incomplete)
            guard room >= Self.leastRead else {
                state.add(Self.margin)
                return (Self.margin, Self.margin)
            }
            let read = min(bytes, room)
            state.add(read + self.bounded(incomplete))
            return (read, read + self.bounded(incomplete))
        }
    }

    /// Whether there is room for a read that may complete a frame.
    func isReadable(completing incomplete: Int) -> Bool {
        self.state.withLock { self.readRoom($0) >= Self.leastRead + self.bounded(incomplete) }
    }

    /// Calls `callback` once when there is room for a read that may complete a frame, at once if there is. The caller must hold
    /// no lock. One `id` waits once.
    func whenReadable(_ id: ID, completing incomplete: Int, _ callback: @escaping @Sendable () -> Void) {
        let wanted = Self.leastRead + self.bounded(incomplete)
        let isReadable = self.state.withLock { state in
            let isReadable = self.readRoom(state) >= wanted
            if !isReadable { state.readers.waiting[id] = (wanted, callback) }
            return isReadable
        }
        if isReadable { callback() }
    }

    /// Those who wait to read and have room for it. They are to be called without a lock.
    func takeReaders(_ state: inout State) -> [@Sendable () -> Void] {
        guard !state.readers.waiting.isEmpty else { return [] }
        let room = self.readRoom(state)
        let due = state.readers.waiting.filter { $0.value.room <= room }
        for id in due.keys { state.readers.waiting[id] = nil }
        return due.values.map(\.callback)
    }

    /// A frame that is larger than the budget must be read too.
    private func bounded(_ incomplete: Int) -> Int { min(incomplete, self.limit.bytes / 4) }

    /// The margins of many connections must not take all: half of what is above the low mark is for reads with room.
    private func readRoom(_ state: State) -> Int {
        self.limit.bytes - state.used - min(state.readers.margins, (self.limit.bytes - self.low.bytes) / 2)
    }
}
