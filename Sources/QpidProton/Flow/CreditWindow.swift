/// Decides how much credit a receiver grants.
///
/// A message takes one place of the window, and its bytes, from the grant of its credit until the application has settled
/// it, or until it has taken it, as configured. Free places are granted when they are at least a quarter of the window, and
/// fewer when the application waits and no credit is left: else the link would stall.
struct CreditWindow {
    /// The least that a message counts for: what is kept beside its bytes is not nothing.
    static let leastSize = 256
    /// The credit that an unbounded window keeps up. It is renewed when a quarter of it is used.
    static let unboundedCredit = 1 << 20

    let policy: CreditPolicy
    /// Credit granted for which no message has begun to arrive.
    private(set) var outstanding = 0
    /// Messages that hold a place: begun to arrive, and not yet settled or taken.
    private(set) var held = 0
    /// The bytes of the messages that hold a place and are complete.
    private(set) var heldBytes = 0
    private var expected = ExpectedSize(0)
    private(set) var isPaused = false
    /// The application waits for a message, and there was no credit left.
    private var isStarved = false
    private var isMidMessage = false
    /// How many messages are worth while, of ``CreditPolicy/automatic(_:)``.
    private(set) var tuner = CreditTuner()
    private var totals = CreditTuner.Totals()

    /// - Parameters:
    ///   - policy: How credit is made.
    ///   - maxMessageSize: The largest message that may come, in bytes.
    init(_ policy: CreditPolicy, maxMessageSize: Int = .max) {
        switch policy {
        case .messages(let count): self.policy = .messages(max(1, count))
        case .bytes(let bytes): self.policy = .bytes(max(Self.leastSize, bytes))
        case .automatic(let bytes): self.policy = .automatic(max(Self.leastSize, bytes))
        case .manual, .onDemand, .unbounded: self.policy = policy
        }
        if let budget = self.budget {
            // Four messages at first, however small they may turn out to be; or as many as a window that is learned begins with.
            let count = self.isAutomatic ? CreditTuner.start : 4
            self.expected = ExpectedSize(max(Self.leastSize, min(budget / count, maxMessageSize)))
        }
    }

    /// The bytes that the next messages are expected to have each; 0 when bytes are not counted.
    var expectedSize: Int { self.expected.bytes }

    /// The bytes that may be held; `nil` when bytes are not counted.
    var budget: Int? {
        switch self.policy {
        case .bytes(let bytes), .automatic(let bytes): bytes
        case .manual, .messages, .onDemand, .unbounded: nil
        }
    }

    /// The largest message that can become whole; `nil` for any.
    var largest: Int? {
        if case .bytes(let bytes) = self.policy { bytes } else { nil }
    }

    var isAutomatic: Bool {
        if case .automatic = self.policy { true } else { false }
    }

    /// How many more bytes may be read of a message of which `count` have been read.
    func room(after count: Int) -> Int {
        self.budget.map { max(0, $0 - self.heldBytes - count) } ?? .max
    }

    /// Counts credit that the application granted. Returns what may be granted: never a negative number or an overflow.
    mutating func grant(_ credit: Int) -> Int {
        let granted = min(max(0, credit), Int(Int32.max) - self.outstanding)
        self.outstanding += granted
        self.totals.granted += granted
        return granted
    }

    /// The credit to grant now under an automatic window; 0 until a quarter of it is free.
    ///
    /// Half of it would leave a window of twice what is on its way in one round trip no margin.
    ///
    /// - Parameter limit: The most to grant.
    mutating func topUp(limit: Int = .max) -> Int {
        guard limit > 0, self.wantsCredit else { return 0 }
        if self.isShort { self.tuner.isShort(self.held) }
        self.isStarved = false
        return self.grant(min(limit, max(1, self.places?.free ?? 1)))
    }

    /// Whether credit is to be granted now.
    var wantsCredit: Bool {
        guard !self.isPaused, let (size, free) = self.places else { return false }
        guard free > 0 else { return self.isShort }
        if self.isAutomatic, self.tuner.isProbing { return self.outstanding == 0 }
        return free >= max(1, size / 4) || (self.isStarved && self.outstanding == 0)
    }

    /// Who holds messages and waits for more must not wait for ever, where no number was asked for.
    private var isShort: Bool {
        self.isAutomatic && self.isStarved && self.outstanding == 0 && self.places?.free ?? 0 < 1
    }

    /// All places of the window, and those of them that are free.
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

    /// Learns from what has happened: after each grant, when messages have come, and when some were given back.
    mutating func tune(at now: Int64) {
        self.tuner.update(self.totals, held: self.held, size: self.expectedSize, at: now)
    }

    /// The peer has answered the attach.
    mutating func attached(after nanoseconds: Int64) {
        self.tuner.answered(after: nanoseconds)
    }

    /// How many messages the window has places for; `nil` if it is not learned.
    var tunedSize: Int? { self.isAutomatic ? self.places?.size : nil }

    /// The application waits for a message, and there was no credit left when it began to.
    mutating func starve() {
        self.isStarved = true
    }

    /// A message has begun to arrive. Returns false when it had no credit.
    mutating func arrive() -> Bool {
        guard self.outstanding > 0 else { return false }
        self.outstanding -= 1
        self.held += 1
        self.totals.arrived += 1
        self.isMidMessage = true
        return true
    }

    /// The message that had begun is complete. Returns the bytes that it counts for until they are freed.
    mutating func complete(_ size: Int) -> Int {
        self.isMidMessage = false
        guard let budget = self.budget else { return 0 }
        let expected = min(max(Self.leastSize, size), budget)
        let counted = self.isAutomatic ? max(Self.leastSize, size) : expected
        self.heldBytes += counted
        self.expected.note(expected)
        return counted
    }

    /// Bytes wait of a message that is handed over while it arrives, until they are freed.
    mutating func hold(_ bytes: Int) {
        self.heldBytes += bytes
    }

    /// The message that had begun is complete, or was given up; its bytes were held one by one, and its place stays.
    mutating func completeStreamed(_ size: Int) {
        self.isMidMessage = false
        guard let budget = self.budget else { return }
        self.expected.note(min(max(Self.leastSize, size), budget))
    }

    /// The message that had begun was aborted.
    mutating func abort() {
        self.isMidMessage = false
        self.free(1, bytes: 0)
    }

    /// Messages have given their places and their bytes back.
    mutating func free(_ count: Int, bytes: Int) {
        self.held = max(0, self.held - count)
        self.totals.freed += count
        self.heldBytes = max(0, self.heldBytes - bytes)
    }

    /// No top-up until ``resume()``: credit granted before a drain is answered would cancel it.
    mutating func pause() {
        self.isPaused = true
    }

    mutating func resume() {
        self.isPaused = false
    }

    /// The peer has given back all the credit that it did not use.
    mutating func drained() {
        self.totals.granted -= self.outstanding
        self.outstanding = 0
    }

    /// The peer has given back credit after the drain was given up.
    mutating func returned(_ credit: Int) {
        let back = min(credit, self.outstanding)
        self.totals.granted -= back
        self.outstanding -= back
    }
}
