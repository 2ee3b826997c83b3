// SPDX-License-Identifier: Apache-2.0

/// A count of bytes with one high and one low watermark.
///
/// The ledger admits bytes while the sum stays at or below `high`. After a refusal the ledger admits no more bytes
/// until the sum is at or below `low`. An empty ledger admits an item larger than `high`, because it could never pass
/// otherwise.
///
/// Items that may wait can have a lower, variable pair of marks.
struct ByteLedger {
    private(set) var used = 0
    private(set) var peak = 0
    private(set) var isBlocked = false
    let high: Int
    let low: Int
    /// The marks for items that may wait; `.max` if these items have no marks of their own.
    private var patientHigh = Int.max
    private var patientLow = Int.max
    private var isPatientBlocked = false

    init(high: Int, low: Int) {
        self.high = max(1, high)
        self.low = min(max(0, low), self.high)
    }

    /// Returns whether the ledger admits an item.
    ///
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

    /// Returns the number of bytes that must be released so that `bytes` bytes fit, blocked or not.
    func shortage(_ bytes: Int) -> Int {
        bytes > self.high ? self.used : max(0, bytes - (self.high - self.used))
    }

    /// Blocks all later items until the sum is at the low mark, because of a refused item.
    ///
    /// At or below the mark only a waiting item blocks the ledger, because no other event would end the block.
    ///
    /// - Parameters:
    ///   - mayWait: Whether the caller waits with the item after a refusal.
    ///   - isWaiting: Whether the item waits already.
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

    /// Removes bytes. Returns true if the removal ended a block.
    mutating func remove(_ bytes: Int) -> Bool {
        self.used -= bytes
        return self.unblockIfLow()
    }

    /// Ends a block whose cause may have vanished. Returns true if a block has ended.
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
