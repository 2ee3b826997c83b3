// SPDX-License-Identifier: Apache-2.0

/// The tuned limit of a sender's queued bytes, at which a message waits about 1.5 ms before it is sent.
///
/// A full queue adds its length to the time of every message, and is no faster than a short queue. The limit starts at
/// the ceiling. While tasks reach the limit in every period, the limit falls towards the bytes that the link sends in
/// the target time. In a period in which no task waits, the limit rises. The limit never falls below the bytes that
/// the peer's current credit allows.
struct AdmissionTuner {
    /// The target for the wait of a message in the queue, in nanoseconds.
    static let target: Int64 = 1_500_000
    /// The shortest time for which the tuner observes the link before the limit changes, in nanoseconds.
    static let period: Int64 = 4_000_000
    /// The number of periods with waiting tasks before the limit falls.
    static let patience = 4
    /// The lowest limit, in bytes: one write of the loop.
    static let least = 32_768

    let ceiling: Int
    private(set) var limit: Int
    private var periodStart: Int64?
    private var sent = 0
    /// Whether a task has waited for room in the period.
    private var hasWaited = false
    /// Whether the link had no bytes left at its last release.
    private var isIdle = false
    private var backloggedPeriods = 0
    /// The bytes that the link sends in the target time, from the fastest of the last periods.
    private var pace = 0.0
    /// The average size of a message, in bytes.
    private var size = 0

    init(ceiling: Int) {
        self.ceiling = max(1, ceiling)
        self.limit = self.ceiling
    }

    /// The bytes at which the gate admits waiting tasks again.
    var low: Int { self.limit - self.limit / 8 }

    /// Counts an admitted message.
    mutating func admit(_ bytes: Int) {
        if self.size == 0 { self.size = bytes } else { self.size += (bytes - self.size) / 16 }
    }

    /// Counts written bytes of the link. Returns whether the limit has changed.
    ///
    /// - Parameters:
    ///   - left: The bytes of the link that remain.
    ///   - wasWaiting: Whether tasks waited for room at the link until then.
    ///   - credit: The peer's current credit, in messages.
    ///   - now: The time of the loop's clock, in nanoseconds.
    mutating func release(_ bytes: Int, left: Int, wasWaiting: Bool, credit: Int, at now: Int64) -> Bool {
        let before = self.limit
        // Idle time does not count in the link's pace.
        if let start = self.periodStart, !self.isIdle {
            self.sent += bytes
            if wasWaiting { self.hasWaited = true }
            // A waiting task is resumed only after a part of the queue is sent, so a period includes a whole queue.
            if now - start >= Self.period, self.sent >= self.limit {
                self.end(after: now - start, credit: credit, at: now)
            }
        } else {
            self.begin(at: now)
        }
        self.isIdle = left == 0 && !wasWaiting
        return self.limit != before
    }

    private mutating func begin(at now: Int64) {
        self.periodStart = now
        self.sent = 0
        self.hasWaited = false
    }

    private mutating func end(after time: Int64, credit: Int, at now: Int64) {
        defer { self.begin(at: now) }
        self.pace = max(Double(self.sent) * Double(Self.target) / Double(time), self.pace * 7 / 8)
        guard self.hasWaited else {
            self.backloggedPeriods = 0
            self.limit = min(self.ceiling, self.limit + max(1, self.limit / 4))
            return
        }
        self.backloggedPeriods += 1
        guard self.backloggedPeriods >= Self.patience else { return }
        let taken = self.size.multipliedReportingOverflow(by: max(0, credit))
        let floor = max(Self.least, taken.overflow ? .max : taken.partialValue)
        let aim = min(self.ceiling, max(floor, Int(min(self.pace, Double(self.ceiling)))))
        // The limit moves half of the way down, so that one slow period costs little, and all of the way up.
        self.limit = aim < self.limit ? aim + (self.limit - aim) / 2 : aim
        if self.limit - aim < aim / 16 { self.limit = aim }
    }
}
