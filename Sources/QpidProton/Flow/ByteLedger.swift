// SPDX-License-Identifier: Apache-2.0

/// Counts bytes against one high and one low watermark.
///
/// Bytes are admitted while the sum stays at or below `high`. After a refusal nothing more is admitted until the sum is
/// at or below `low`. An item larger than `high` is admitted when the ledger is empty, so that it can ever pass.
///
/// Items that may wait can have a lower, variable pair of marks.
struct ByteLedger {
    private(set) var used = 0
    private(set) var peak = 0
    private(set) var isBlocked = false
    let high: Int
    let low: Int
    /// The marks for items that may wait; `.max` if they are the same.
    private var patientHigh = Int.max
    private var patientLow = Int.max
    private var isPatientBlocked = false

    init(high: Int, low: Int) {
        self.high = max(1, high)
        self.low = min(max(0, low), self.high)
    }

    /// - Parameter mayWait: Whether the item waits if it is refused.
    func admits(_ bytes: Int, mayWait: Bool = false) -> Bool {
        guard !self.isBlocked, self.used == 0 || bytes <= self.high - self.used else { return false }
        guard mayWait, self.patientHigh < self.high else { return true }
        return !self.isPatientBlocked && (self.used == 0 || bytes <= self.patientHigh - self.used)
    }

    /// Sets the marks for items that may wait.
    mutating func setMarks(high: Int, low: Int) {
        self.patientHigh = high
        self.patientLow = low
    }

    /// Returns the bytes that must be released for that many to fit, blocked or not.
    func shortage(_ bytes: Int) -> Int {
        bytes > self.high ? self.used : max(0, bytes - (self.high - self.used))
    }

    /// Blocks all later items until the sum is at the low mark, because of a refused item.
    ///
    /// At or below the mark nothing is marked, because no event would end the block: a waiting item marks it itself.
    ///
    /// - Parameters:
    ///   - mayWait: Whether the item comes again to wait.
    ///   - isWaiting: Whether it waits.
    mutating func refuse(_ bytes: Int, mayWait: Bool, isWaiting: Bool) {
        if mayWait, self.patientHigh < self.high, self.admits(bytes) {
            if isWaiting || self.used > self.patientLow { self.isPatientBlocked = true }
        } else if isWaiting || self.used > self.low {
            self.isBlocked = true
        }
    }

    mutating func add(_ bytes: Int) {
        self.used += bytes
        self.peak = max(self.peak, self.used)
    }

    /// Removes bytes. Returns true if that ended a block.
    mutating func remove(_ bytes: Int) -> Bool {
        self.used -= bytes
        return self.unblockIfLow()
    }

    /// Ends a block whose cause may have vanished. Returns true if there was one.
    mutating func unblockIfLow() -> Bool {
        var isUnblocked = false
        if self.isBlocked, self.used <= self.low {
            self.isBlocked = false
            isUnblocked = true
        }
        if self.isPatientBlocked, self.used <= self.patientLow || self.patientHigh >= self.high {
            self.isPatientBlocked = false
            isUnblocked = true
        }
        return isUnblocked
    }
}
