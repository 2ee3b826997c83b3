internal import Synchronization

/// What a connection holds of what has come, and for how much more there is room: credit, windows and what is read follow it.
struct ReceiveBudget {
    /// The most that comes with one read of the socket.
    static let read = 65_536

    /// What the connection shares with others; `nil` if only the capacities of its sessions bound it.
    let shared: AMQPMemoryBudget?
    /// The bytes of the receivers: messages that arrive, wait, or hold their place in a window.
    private(set) var held = 0
    /// What is expected for the credit of the receivers.
    private var promised = 0
    /// What the shared budget was told.
    private var reserved = 0
    /// The bytes that receivers have given back in all, to see whether anything moves.
    private(set) var freed = 0
    /// Credit or a window was refused for lack of room, which others may have made since.
    var wasShort = false

    init(_ shared: AMQPMemoryBudget?) {
        self.shared = shared
    }

    // MARK: What is free

    /// The bytes for which the windows may be told; `nil` for no bound. What is above the low mark is for what is on its way.
    var room: Int? { self.shared.map { max(0, $0.low.bytes + 1 - $0.used.bytes) } }

    /// The bytes for which credit may be granted; `nil` for no bound.
    var creditRoom: Int? {
        self.shared.map { max(0, $0.low.bytes + 1 - $0.used.bytes - $0.promised.load(ordering: .relaxed)) }
    }

    /// The bytes for which the window of one of that many sessions may be told, of those that are free in it. At or below the
    /// low mark there is room for a frame: no one is called when the budget falls further.
    mutating func sessionRoom(_ free: Int, frameSize: Int, sessions: Int) -> Int {
        guard let room = self.room else { return free }
        if room == 0 { self.wasShort = true }
        return room > 0 ? min(free, max(frameSize, room / max(1, sessions))) : 0
    }

    /// The bytes that a session may begin with, of that many.
    func share(of capacity: Int) -> Int { self.shared.map { min(capacity, $0.limit.bytes / 8) } ?? capacity }

    /// The largest message that can become whole.
    var largestMessage: Int {
        self.shared.map { max($0.low.bytes / 2, $0.low.bytes - 2 * Self.read) } ?? .max
    }

    /// There is no room for credit and windows, and whoever waits is called when there is.
    var isShort: Bool { self.shared.map { $0.used > $0.low } ?? false }

    // MARK: What is held

    mutating func add(_ bytes: Int) {
        self.held += bytes
        if bytes < 0 { self.freed -= bytes }
    }

    /// What is expected for credit has changed.
    mutating func promise(_ bytes: Int) {
        self.promised += bytes
        self.shared?.promised.add(bytes, ordering: .relaxed)
    }

    /// Counts what there is now, with what Proton holds. Returns how much more the shared budget is to be told.
    ///
    /// It is told outside: others whom it calls then may look here.
    mutating func update(inProton: Int) -> Int {
        let more = self.held + inProton - self.reserved
        self.reserved += more
        return more
    }

    /// The connection is gone. Returns what the shared budget gets back.
    mutating func close() -> Int {
        self.promise(-self.promised)
        self.held = 0
        return -self.update(inProton: 0)
    }
}

/// What one receiver holds of its connection's ``ReceiveBudget``, and expects to.
struct ReceiveShare {
    private(set) var held = 0
    private var expected = ExpectedSize(ReceiveBudget.read)
    private var promised = 0

    mutating func add(_ bytes: Int, to budget: inout ReceiveBudget) {
        self.held += bytes
        budget.add(bytes)
    }

    /// A message has come whole.
    mutating func complete(_ size: Int) {
        self.expected.note(max(CreditWindow.leastSize, size))
    }

    /// The most credit that there is room for, by the size that messages had lately.
    ///
    /// - Parameter isIdle: Nothing is on its way: the last that there is room for goes to those that have nothing, so that
    ///   each link moves.
    func credit(isIdle: Bool, of budget: inout ReceiveBudget) -> Int {
        guard let room = budget.creditRoom else { return .max }
        if room == 0 { budget.wasShort = true }
        return max(room / self.expected.bytes, isIdle && budget.room ?? 0 > 0 ? 1 : 0)
    }

    /// Tells what is expected for the credit that is out.
    mutating func promise(_ credit: Int, to budget: inout ReceiveBudget) {
        let bytes = credit * self.expected.bytes
        budget.promise(bytes - self.promised)
        self.promised = bytes
    }
}
