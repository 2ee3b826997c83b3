// SPDX-License-Identifier: Apache-2.0

/// The credit that a receiver grants.
///
/// A message uses one place of the window, and its bytes, from the grant of its credit. It frees them when the
/// application has settled or received it, as configured. The window grants free places when they are at least a
/// quarter of its size. It grants fewer if the application waits without credit, because the link would stall.
struct CreditWindow {
    /// The least weight of a message in bytes, because its overhead is not zero.
    static let leastSize = 256
    /// The credit of an unbounded window. The window renews this credit when a quarter is used.
    static let unboundedCredit = 1 << 20

    let policy: CreditPolicy
    /// The granted credit for which no message has started to arrive.
    private(set) var outstanding = 0
    /// The number of messages with a place: they have started to arrive, and are not yet settled or received.
    private(set) var held = 0
    /// The bytes of the complete messages with a place.
    private(set) var heldBytes = 0
    private var expected = ExpectedSize(0)
    private(set) var isPaused = false
    /// Whether the application waits for a message and had no credit left.
    private var isStarved = false
    private var isMidMessage = false
    /// The useful number of messages of ``CreditPolicy/automatic(_:)``.
    private(set) var tuner = CreditTuner()
    private var totals = CreditTuner.Totals()

    /// Creates a window without outstanding credit.
    ///
    /// - Parameters:
    ///   - policy: The rule for granting credit.
    ///   - maxMessageSize: The largest allowed message, in bytes.
    init(_ policy: CreditPolicy, maxMessageSize: Int = .max) {
        switch policy {
        case .messages(let count): self.policy = .messages(max(1, count))
        case .bytes(let bytes): self.policy = .bytes(max(Self.leastSize, bytes))
        case .automatic(let bytes): self.policy = .automatic(max(Self.leastSize, bytes))
        case .manual, .onDemand, .unbounded: self.policy = policy
        }
        if let budget = self.budget {
            // A window starts with four messages of any size; a tuned window starts with its first size.
            let count = self.isAutomatic ? CreditTuner.start : 4
            self.expected = ExpectedSize(max(Self.leastSize, min(budget / count, maxMessageSize)))
        }
    }

    /// The expected bytes of each further message; 0 if bytes are not counted.
    var expectedSize: Int { self.expected.bytes }

    /// The limit in bytes; `nil` if bytes are not counted.
    var budget: Int? {
        switch self.policy {
        case .bytes(let bytes), .automatic(let bytes): bytes
        case .manual, .messages, .onDemand, .unbounded: nil
        }
    }

    /// The largest message that can be completed; `nil` for no limit.
    var largest: Int? {
        if case .bytes(let bytes) = self.policy { bytes } else { nil }
    }

    var isAutomatic: Bool {
        if case .automatic = self.policy { true } else { false }
    }

    /// Returns the bytes that may still be read of a message of which `count` have been read.
    func room(after count: Int) -> Int {
        self.budget.map { max(0, $0 - self.heldBytes - count) } ?? .max
    }

    /// Counts credit from the application. Returns the credit to grant, which is never negative and never overflows.
    mutating func grant(_ credit: Int) -> Int {
        let granted = min(max(0, credit), Int(Int32.max) - self.outstanding)
        self.outstanding += granted
        self.totals.granted += granted
        return granted
    }

    /// Returns the credit to grant now under an automatic window; 0 until a quarter of it is free.
    ///
    /// A half would leave no margin in a window of twice the messages of a round trip.
    ///
    /// - Parameter limit: The most credit to grant.
    mutating func topUp(limit: Int = .max) -> Int {
        guard limit > 0, self.wantsCredit else { return 0 }
        if self.isShort { self.tuner.isShort(self.held) }
        self.isStarved = false
        return self.grant(min(limit, max(1, self.places?.free ?? 1)))
    }

    /// Whether to grant credit now.
    var wantsCredit: Bool {
        guard !self.isPaused, let (size, free) = self.places else { return false }
        guard free > 0 else { return self.isShort }
        if self.isAutomatic, self.tuner.isProbing { return self.outstanding == 0 }
        return free >= max(1, size / 4) || (self.isStarved && self.outstanding == 0)
    }

    /// Whether a task that holds all messages of an automatic window waits for more. This task must not wait forever,
    /// because the application has configured no number.
    private var isShort: Bool {
        self.isAutomatic && self.isStarved && self.outstanding == 0 && self.places?.free ?? 0 < 1
    }

    /// The number of all places of the window, and of its free places; `nil` for manual credit.
    private var places: (size: Int, free: Int)? {
        switch self.policy {
        case .manual: return nil
        case .messages(let size): return (size, size - self.outstanding - self.held)
        case .onDemand: return (1, self.isStarved ? 1 - self.outstanding : 0)
        case .unbounded: return (Self.unboundedCredit, Self.unboundedCredit - self.outstanding)
        case .bytes(let budget): return self.places(in: budget)
        case .automatic(let budget):
            let (size, free) = self.places(in: budget)
            return (min(size, self.tuner.window), min(free, self.tuner.window - self.outstanding - self.held))
        }
    }

    private func places(in budget: Int) -> (size: Int, free: Int) {
        let begun = self.isMidMessage ? 1 : 0
        let free = (budget - self.heldBytes) / self.expectedSize - self.outstanding - begun
        return (max(1, budget / self.expectedSize), free)
    }

    /// Tunes the window: after each grant, after arrivals, and after returns.
    mutating func tune(at now: Int64) {
        self.tuner.update(self.totals, held: self.held, size: self.expectedSize, at: now)
    }

    /// Passes the time until the peer's answer to the attach to the tuner.
    mutating func attached(after nanoseconds: Int64) {
        self.tuner.answered(after: nanoseconds)
    }

    /// The number of places of a tuned window; `nil` for other windows.
    var tunedSize: Int? { self.isAutomatic ? self.places?.size : nil }

    /// Records that the application waits for a message, and that no credit was left when the wait began.
    mutating func starve() {
        self.isStarved = true
    }

    /// Counts a message that has started to arrive. Returns false if it had no credit.
    mutating func arrive() -> Bool {
        guard self.outstanding > 0 else { return false }
        self.outstanding -= 1
        self.held += 1
        self.totals.arrived += 1
        self.isMidMessage = true
        return true
    }

    /// Counts the bytes of the started message, which is complete. Returns the counted bytes, which stay until their
    /// release.
    mutating func complete(_ size: Int) -> Int {
        self.isMidMessage = false
        guard let budget = self.budget else { return 0 }
        let expected = min(max(Self.leastSize, size), budget)
        let counted = self.isAutomatic ? max(Self.leastSize, size) : expected
        self.heldBytes += counted
        self.expected.note(expected)
        return counted
    }

    /// Counts bytes of a streamed message until their release.
    mutating func hold(_ bytes: Int) {
        self.heldBytes += bytes
    }

    /// Ends the started message, which was streamed and is complete or abandoned. Its bytes are counted already, and
    /// its place stays.
    mutating func completeStreamed(_ size: Int) {
        self.isMidMessage = false
        guard let budget = self.budget else { return }
        self.expected.note(min(max(Self.leastSize, size), budget))
    }

    /// Frees the place of the started message, which was aborted.
    mutating func abort() {
        self.isMidMessage = false
        self.free(1, bytes: 0)
    }

    /// Frees the places and bytes of messages.
    mutating func free(_ count: Int, bytes: Int) {
        self.held = max(0, self.held - count)
        self.totals.freed += count
        self.heldBytes = max(0, self.heldBytes - bytes)
    }

    /// Stops grants until ``resume()``, because credit before the answer to a drain would cancel it.
    mutating func pause() {
        self.isPaused = true
    }

    mutating func resume() {
        self.isPaused = false
    }

    /// Removes all unused credit, which the peer has returned.
    mutating func drained() {
        self.totals.granted -= self.outstanding
        self.outstanding = 0
    }

    /// Removes credit that the peer has returned after the drain was abandoned.
    mutating func returned(_ credit: Int) {
        let back = min(credit, self.outstanding)
        self.totals.granted -= back
        self.outstanding -= back
    }
}
