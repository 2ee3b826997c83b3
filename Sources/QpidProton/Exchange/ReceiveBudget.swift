// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The received bytes of a connection, and its room for more: credit, windows and reads depend on it.
struct ReceiveBudget {
    /// The most bytes of one read of the socket.
    static let read = 65_536

    /// The shared budget; `nil` if only the capacities of its sessions limit the connection.
    let shared: AMQPMemoryBudget?
    /// The bytes of the receivers: messages that arrive, wait, or hold their place in a window.
    private(set) var held = 0
    /// The bytes expected for the credit of the receivers.
    private var promised = 0
    /// The bytes reported to the shared budget.
    private var reserved = 0
    /// The total of released bytes of receivers, which shows progress.
    private(set) var freed = 0
    /// Whether credit or a window was refused for lack of room.
    var wasShort = false

    init(_ shared: AMQPMemoryBudget?) {
        self.shared = shared
    }

    // MARK: Free bytes

    /// The bytes by which windows may grow; `nil` for no limit. Bytes above the low mark are reserved for bytes on
    /// their way.
    var room: Int? { self.shared.map { max(0, $0.low.bytes + 1 - $0.used.bytes) } }

    /// The bytes for which credit may be granted; `nil` for no limit.
    var creditRoom: Int? {
        self.shared.map { max(0, $0.low.bytes + 1 - $0.used.bytes - $0.promised.load(ordering: .relaxed)) }
    }

    /// Returns the number of bytes by which the window of one of `sessions` sessions may grow. At or below the low mark
    /// there is room for a frame, because no callback follows when the budget falls further.
    mutating func sessionRoom(_ free: Int, frameSize: Int, sessions: Int) -> Int {
        guard let room = self.room else { return free }
        if room == 0 { self.wasShort = true }
        return room > 0 ? min(free, max(frameSize, room / max(1, sessions))) : 0
    }

    /// Returns the part of a session's capacity for its first window, in bytes.
    func share(of capacity: Int) -> Int { self.shared.map { min(capacity, $0.limit.bytes / 8) } ?? capacity }

    /// The largest message that can be completed.
    var largestMessage: Int {
        self.shared.map { max($0.low.bytes / 2, $0.low.bytes - 2 * Self.read) } ?? .max
    }

    /// Whether credit and windows have no room. The budget calls the waiting connection once there is room.
    var isShort: Bool { self.shared.map { $0.used > $0.low } ?? false }

    // MARK: Held bytes

    mutating func add(_ bytes: Int) {
        self.held += bytes
        if bytes < 0 { self.freed -= bytes }
    }

    /// Updates the bytes expected for credit.
    mutating func promise(_ bytes: Int) {
        self.promised += bytes
        self.shared?.promised.add(bytes, ordering: .relaxed)
    }

    /// Counts the current bytes, including those in Proton. Returns the change for the shared budget.
    ///
    /// The caller reports the change without a lock, because connections that the report calls may read this value.
    mutating func update(inProton: Int) -> Int {
        let more = self.held + inProton - self.reserved
        self.reserved += more
        return more
    }

    /// Ends the connection's part. Returns the bytes to release in the shared budget.
    mutating func close() -> Int {
        self.promise(-self.promised)
        self.held = 0
        return -self.update(inProton: 0)
    }
}

/// The held and expected bytes of one receiver in its connection's ``ReceiveBudget``.
struct ReceiveShare {
    private(set) var held = 0
    private var expected = ExpectedSize(ReceiveBudget.read)
    private var promised = 0

    mutating func add(_ bytes: Int, to budget: inout ReceiveBudget) {
        self.held += bytes
        budget.add(bytes)
    }

    /// Records the size of a complete message.
    mutating func complete(_ size: Int) {
        self.expected.note(max(CreditWindow.leastSize, size))
    }

    /// Returns the most credit that has room, by the size of recent messages.
    ///
    /// - Parameter isIdle: Whether no message is on its way. Such links receive the last room, so that each link makes
    ///   progress.
    func credit(isIdle: Bool, of budget: inout ReceiveBudget) -> Int {
        guard let room = budget.creditRoom else { return .max }
        if room == 0 { budget.wasShort = true }
        return max(room / self.expected.bytes, isIdle && budget.room ?? 0 > 0 ? 1 : 0)
    }

    /// Reports the bytes expected for outstanding credit.
    mutating func promise(_ credit: Int, to budget: inout ReceiveBudget) {
        let bytes = credit * self.expected.bytes
        budget.promise(bytes - self.promised)
        self.promised = bytes
    }
}
