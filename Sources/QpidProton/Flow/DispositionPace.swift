// SPDX-License-Identifier: Apache-2.0

/// The pace of a receiver's dispositions. The receiver holds accepted and released dispositions back, so that
/// neighbours are sent as one range.
///
/// Proton merges dispositions of consecutive deliveries only in their order (P57), and concurrent handlers settle out
/// of order. A decided delivery is *ripe* if no undecided delivery precedes it, and *waiting* otherwise. Times are
/// nanoseconds of the event loop's clock.
struct DispositionPace {
    /// The number of ripe dispositions that are sent at once.
    static let run = 64
    /// The number of waiting dispositions that are sent at once, because Proton stores each as a separate range.
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
    /// The time of the earliest decision about a waiting delivery; `.max` if there is none.
    private(set) var waitingSince = Int64.max
    /// The start of the current batch of settlements; `nil` between batches.
    private var batch: Int64?

    /// The start of the current batch.
    @inline(__always) var time: Int64 { self.batch ?? 0 }

    /// Whether the loop is applying a batch.
    @inline(__always) var isInBatch: Bool { self.batch != nil }

    /// Begins a batch with its first settlement.
    mutating func begin(at now: Int64) { self.batch = now }

    /// Ends a batch whose settlements are all applied. Returns the time of its start.
    mutating func end() -> Int64 {
        defer { self.batch = nil }
        return self.time
    }

    /// Returns the dispositions to send after a batch, while the application holds undecided deliveries.
    func step(ripe: Int, waiting: Int) -> Step {
        Step(ripe: ripe >= Self.run, waiting: waiting >= Self.mostWaiting)
    }

    /// Records that deliveries decided at a time are waiting.
    mutating func wait(since time: Int64) { self.waitingSince = min(self.waitingSince, time) }

    /// Records that waiting dispositions were sent.
    ///
    /// - Parameter oldest: The time of the earliest decision that still waits; `.max` if there is none.
    mutating func sent(oldest: Int64) { self.waitingSince = oldest }

    /// Returns the latest time for the next dispositions; `nil` if there are none.
    ///
    /// - Parameters:
    ///   - ripeSince: The time of the earliest decision about a ripe delivery; `.max` if there is none.
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

    /// Returns the time of the latest decision that is sent together with overdue decisions. The application probably
    /// decides the neighbours of later deliveries soon.
    func lastDue(at now: Int64) -> Int64 { now - self.delay }
}
