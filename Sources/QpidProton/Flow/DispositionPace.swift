/// When a receiver sends dispositions. It keeps accepted and released ones back, so that neighbours leave as one range.
///
/// Proton merges dispositions of consecutive deliveries only in their order (P57), and concurrent handlers settle out of
/// order. Of the decided deliveries, the *ripe* ones have no undecided delivery before them, and the others are *waiting*.
/// Times are nanoseconds of the event loop's clock.
struct DispositionPace {
    /// Ripe dispositions leave at once when there are this many.
    static let run = 64
    /// Waiting dispositions leave at once when there are this many, because Proton keeps each as a range of its own.
    static let mostWaiting = 8_192
    /// A waiting disposition waits for at most this many delays.
    static let patience: Int64 = 5

    /// What to send now.
    enum Step: Equatable {
        case nothing, ripe, waiting, all

        var isRipe: Bool { self == .ripe || self == .all }
        var isWaiting: Bool { self == .waiting || self == .all }

        fileprivate init(ripe: Bool, waiting: Bool) {
            self = ripe ? (waiting ? .all : .ripe) : waiting ? .waiting : .nothing
        }
    }

    /// The longest that a ripe disposition is kept back.
    var delay: Int64 = 0
    /// No waiting delivery was decided before; `.max` when none waits.
    private(set) var waitingSince = Int64.max
    /// When the batch of settlements began that is being applied; nil between batches.
    private var batch: Int64?

    /// When the batch that is being applied began.
    @inline(__always) var time: Int64 { self.batch ?? 0 }

    /// A batch is being applied.
    @inline(__always) var isInBatch: Bool { self.batch != nil }

    /// The first settlement of a batch is applied.
    mutating func begin(at now: Int64) { self.batch = now }

    /// All settlements of the batch have been applied. Returns when it began.
    mutating func end() -> Int64 {
        defer { self.batch = nil }
        return self.time
    }

    /// What to send after a batch, while the application holds deliveries that it has not settled.
    func step(ripe: Int, waiting: Int) -> Step {
        Step(ripe: ripe >= Self.run, waiting: waiting >= Self.mostWaiting)
    }

    /// Deliveries that were decided at a time wait.
    mutating func wait(since time: Int64) { self.waitingSince = min(self.waitingSince, time) }

    /// Waiting dispositions were sent.
    ///
    /// - Parameter oldest: When the first of those that still wait was decided; `.max` when none waits.
    mutating func sent(oldest: Int64) { self.waitingSince = oldest }

    /// When dispositions are to be sent at the latest; `nil` when there are none.
    ///
    /// - Parameters:
    ///   - ripeSince: When the first ripe delivery was decided; `.max` when none is ripe.
    ///   - hasWaiting: Whether deliveries wait.
    func deadline(ripeSince: Int64, hasWaiting: Bool) -> Int64? {
        var deadline = Int64.max
        if ripeSince < .max { deadline = ripeSince + self.delay }
        if hasWaiting, self.waitingSince < .max {
            deadline = min(deadline, self.waitingSince + Self.patience * self.delay)
        }
        return deadline < .max ? deadline : nil
    }

    /// Whether ripe dispositions are overdue.
    func isRipeDue(_ ripeSince: Int64, at now: Int64) -> Bool { ripeSince < .max && ripeSince + self.delay <= now }

    /// Whether waiting dispositions are overdue.
    func isWaitingDue(at now: Int64) -> Bool {
        self.waitingSince < .max && self.waitingSince + Self.patience * self.delay <= now
    }

    /// The waiting deliveries that were decided at this time or before are sent when others are overdue: neighbours of later
    /// ones are decided soon.
    func lastDue(at now: Int64) -> Int64 { now - self.delay }
}
