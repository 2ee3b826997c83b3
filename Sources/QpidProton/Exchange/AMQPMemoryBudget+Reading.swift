// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// Concurrent reads of connections that share a budget fit into the budget too, because each read reserves room before
// it starts.

extension AMQPMemoryBudget {
    /// The reading connections, and those that wait to read.
    struct Readers: Sendable {
        /// The bytes that all connections together may read without room: see ``margin``.
        fileprivate var margins = 0
        fileprivate var waiting: [ID: (room: Int, callback: @Sendable () -> Void)] = [:]

        /// Whether a connection has ever received within the budget.
        fileprivate(set) var haveJoined = false
    }

    /// The smallest reservation for a read, in bytes.
    static let leastRead = 2_048
    /// The size of a read without room, in bytes. The size is not 0, because a read of a readable socket needs at least
    /// one byte.
    static let margin = 512

    /// Registers a reading connection.
    ///
    /// - Parameter margin: The most bytes of one read without room.
    func joinReaders(margin: Int) {
        self.state.withLock { state in
            state.readers.margins += margin
            state.readers.haveJoined = true
        }
    }

    /// Unregisters a reading connection. The caller must hold no lock.
    func leaveReaders(_ id: ID, margin: Int) {
        let callbacks = self.state.withLock { state in
            state.readers.margins -= margin
            state.readers.waiting[id] = nil
            return self.takeReaders(&state)
        }
        for callback in callbacks { callback() }
    }

    /// Changes the margin of a connection.
    func moveMargin(by difference: Int) {
        self.state.withLock { $0.readers.margins += difference }
    }

    /// Reserves room for a read of at most `bytes` bytes, in place of the last reservation.
    /// - Parameter incomplete: The uncounted bytes of a frame that the read may complete.
    /// - Returns: The number of bytes to read, and the number of reserved bytes.
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

    /// Returns whether there is room for a read that may complete a frame.
    func isReadable(completing incomplete: Int) -> Bool {
        self.state.withLock { self.readRoom($0) >= Self.leastRead + self.bounded(incomplete) }
    }

    /// Calls `callback` once when there is room for a read that may complete a frame; at once if there is room now.
    /// Each `id` waits once. The caller must hold no lock.
    func whenReadable(_ id: ID, completing incomplete: Int, _ callback: @escaping @Sendable () -> Void) {
        let wanted = Self.leastRead + self.bounded(incomplete)
        let isReadable = self.state.withLock { state in
            let isReadable = self.readRoom(state) >= wanted
            if !isReadable { state.readers.waiting[id] = (wanted, callback) }
            return isReadable
        }
        if isReadable { callback() }
    }

    /// Returns the waiting readers that have room now. The caller calls them without a lock.
    func takeReaders(_ state: inout State) -> [@Sendable () -> Void] {
        guard !state.readers.waiting.isEmpty else { return [] }
        let room = self.readRoom(state)
        let due = state.readers.waiting.filter { $0.value.room <= room }
        for id in due.keys { state.readers.waiting[id] = nil }
        return due.values.map(\.callback)
    }

    /// Limits the room for an incomplete frame, because a frame that is larger than the budget must be read too.
    private func bounded(_ incomplete: Int) -> Int { min(incomplete, self.limit.bytes / 4) }

    /// Returns the room for reserved reads. The margins of many connections use at most half of the bytes above the low
    /// mark.
    private func readRoom(_ state: State) -> Int {
        self.limit.bytes - state.used - min(state.readers.margins, (self.limit.bytes - self.low.bytes) / 2)
    }
}
