/// Counts bytes against one high and one low watermark.
///
/// Bytes are admitted while the sum stays at or below `high`; after a refusal nothing more is admitted until the sum is
/// at or below `low`. An item larger than `high` is admitted when the ledger is empty, so that it can ever be.
struct ByteLedger {
    private(set) var used = 0
    private(set) var peak = 0
    private(set) var isBlocked = false
    let high: Int
    let low: Int

    init(high: Int, low: Int) {
        self.high = max(1, high)
        self.low = min(max(0, low), self.high)
    }

    var isAboveLow: Bool { self.used > self.low }

    func admits(_ bytes: Int) -> Bool {
        !self.isBlocked && (self.used == 0 || bytes <= self.high - self.used)
    }

    /// The bytes that must leave for so many to fit, blocked or not.
    func shortage(_ bytes: Int) -> Int {
        bytes > self.high ? self.used : max(0, bytes - (self.high - self.used))
    }

    mutating func block() {
        self.isBlocked = true
    }

    mutating func add(_ bytes: Int) {
        self.used += bytes
        self.peak = max(self.peak, self.used)
    }

    /// Takes bytes off. Returns true when that ended a block.
    mutating func remove(_ bytes: Int) -> Bool {
        self.used -= bytes
        return self.unblockIfLow()
    }

    /// Ends a block whose cause may have gone. Returns true when it did end one.
    mutating func unblockIfLow() -> Bool {
        guard self.isBlocked, self.used <= self.low else { return false }
        self.isBlocked = false
        return true
    }
}
