/// How long a link has been kept from moving, and by what: each moment counts for one cause or for none.
struct BlockClock {
    /// What keeps the link from moving now; nil when it moves or has nothing to move.
    private(set) var cause: AMQPBlockCause?
    /// Since when, in nanoseconds of the event loop's clock.
    private(set) var since: Int64 = 0
    /// Somebody was told of the block that lasts.
    var isAnnounced = false
    private var totals: [AMQPBlockCause: Int64] = [:]

    /// A block that is over.
    struct Ended: Equatable {
        let cause: AMQPBlockCause
        let duration: Int64
        let wasAnnounced: Bool
    }

    /// Takes the cause from now on. Returns the block that this ends, if there was one.
    mutating func note(_ cause: AMQPBlockCause?, at now: Int64) -> Ended? {
        guard cause != self.cause else { return nil }
        let ended = self.cause.map { Ended(cause: $0, duration: now - self.since, wasAnnounced: self.isAnnounced) }
        if let ended { self.totals[ended.cause, default: 0] += ended.duration }
        self.cause = cause
        self.since = now
        self.isAnnounced = false
        return ended
    }

    /// The time that each cause has taken, the block that lasts included.
    func totals(at now: Int64) -> [AMQPBlockCause: Duration] {
        var totals = self.totals
        if let cause = self.cause { totals[cause, default: 0] += now - self.since }
        return totals.filter { $0.value > 0 }.mapValues { .nanoseconds($0) }
    }
}
