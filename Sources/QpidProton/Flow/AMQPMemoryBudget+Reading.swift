internal import Synchronization

// What connections that share a budget read of their sockets at the same time fits into it too: room for a read is taken
// before it is made.

extension AMQPMemoryBudget {
    /// Who reads, and who waits to.
    struct Readers: Sendable {
        /// What all may read without room, when a socket has become readable and there is none: see ``margin``.
        fileprivate var margins = 0
        fileprivate var waiting: [ID: @Sendable () -> Void] = [:]
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

    /// Takes room for a read of at most so many bytes, in place of what was taken for the last. Returns how many may be read.
    func reserveRead(_ bytes: Int, insteadOf last: Int) -> Int {
        self.state.withLock { state in
            state.used -= last
            let room = self.readRoom(state)
            let read = room < Self.leastRead ? Self.margin : min(bytes, room)
            state.add(read)
            return read
        }
    }

    /// Whether there is room for a read.
    var isReadable: Bool { self.state.withLock { self.readRoom($0) >= Self.leastRead } }

    /// Calls `callback` once when there is room for a read, at once if there is. The caller must hold no lock. One `id` waits
    /// once.
    func whenReadable(_ id: ID, _ callback: @escaping @Sendable () -> Void) {
        let isReadable = self.state.withLock { state in
            let isReadable = self.readRoom(state) >= Self.leastRead
            if !isReadable { state.readers.waiting[id] = callback }
            return isReadable
        }
        if isReadable { callback() }
    }

    /// Those who wait for room to read, if there is some. They are to be called without a lock.
    func takeReaders(_ state: inout State) -> [@Sendable () -> Void] {
        guard !state.readers.waiting.isEmpty, self.readRoom(state) >= Self.leastRead else { return [] }
        defer { state.readers.waiting = [:] }
        return Array(state.readers.waiting.values)
    }

    /// The margins of many connections must not take all: half of what is above the low mark is for reads with room.
    private func readRoom(_ state: State) -> Int {
        self.limit.bytes - state.used - min(state.readers.margins, (self.limit.bytes - self.low.bytes) / 2)
    }
}
