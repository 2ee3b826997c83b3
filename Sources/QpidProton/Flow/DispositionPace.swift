// SPDX-License-Identifier: Apache-2.0

/// Decides when a receiver sends dispositions. It holds accepted and released ones back, so that neighbours leave as
/// one range.
///
/// Proton merges dispositions of consecutive deliveries only in their order (P57), and concurrent handlers settle out of
/// order. Of the decided deliveries, the *ripe* ones have no undecided delivery before them, and the others are *waiting*.
/// Times are nanoseconds of the event loop's clock.
struct DispositionPace {
    /// The number of ripe dispositions that leave at once.
    static let run = 64
    /// The number of waiting dispositions that leave at once, because Proton keeps each as a range of its own.
    static let mostWaiting = 8_192
    /// The longest wait of a waiting disposition, in delays.
    static let patience: Int64 = 5

    /// The dispositions to send now.
    enum Step: Equatable {
        case nothing, ripe, waiting, all

        var isRipe: Bool { self == .ripe || self == .all }
        var isWaiting: Bool { self == .waiting || self == .all }

        fileprivate init(ripe: Bool, waiting: Bool) {
            self = ripe ? (waiting ? .all : .ripe) : waiting ? .waiting : .nothing
        }
    }

    /// The longest delay of a ripe disposition.
    var delay: Int64 = 0
    /// The earliest decision of a waiting delivery; `.max` without one.
    private(set) var waitingSince = Int64.max
    /// The start of the current batch of settlements; `nil` between batches.
    private var batch: Int64?

    /// The start of the current batch.
    @inline(__always) var time: Int64 { self.batch ?? 0 }

    /// Whether a batch is being applied.
    @inline(__always) var isInBatch: Bool { self.batch != nil }

    /// The first settlement of a batch is applied.
    mutating func begin(at now: Int64) { self.batch = now }

    /// All settlements of the batch have been applied. Returns its start.
    mutating func end() -> Int64 {
        defer { self.batch = nil }
        return self.time
    }

    /// Returns the dispositions to send after a batch, while the application holds undecided deliveries.
    func step(ripe: Int, waiting: Int) -> Step {
        Step(ripe: ripe >= Self.run, waiting: waiting >= Self.mostWaiting)
    }

    /// Deliveries decided at a time are waiting.
    mutating func wait(since time: Int64) { self.waitingSince = min(self.waitingSince, time) }

    /// Waiting dispositions were sent.
    ///
    /// - Parameter oldest: The earliest decision of those that still wait; `.max` without one.
    mutating func sent(oldest: Int64) { self.waitingSince = oldest }

    /// Returns the latest time for the next dispositions; `nil` without any.
    ///
    /// - Parameters:
    ///   - ripeSince: The earliest decision of a ripe delivery; `.max` without one.
    ///   - hasWaiting: Whether deliveries are waiting.
    func deadline(ripeSince: Int64, hasWaiting: Bool) -> Int64? {
        var deadline = Int64.max
        if ripeSince < .max { deadline = ripeSince + self.delay }
        if hasWaiting, self.waitingSince < .max {
            deadline = min(deadline, self.waitingSince + Self.patience * self.delay)
        }
        return deadline < .max ? deadline : nil
    }

    /// Returns whether ripe dispositions are overdue.
    func isRipeDue(_ ripeSince: Int64, at now: Int64) -> Bool { ripeSince < .max && ripeSince + self.delay <= now }

    /// Returns whether waiting dispositions are overdue.
    func isWaitingDue(at now: Int64) -> Bool {
        self.waitingSince < .max && self.waitingSince + Self.patience * self.delay <= now
    }

    /// When others are overdue, waiting deliveries decided at or before this time are sent too. Neighbours of later
    /// ones will be decided soon.
    func lastDue(at now: Int64) -> Int64 { now - self.delay }
}
