/// Learns how many messages a receiver keeps on their way, from what comes and goes. Time is put in, in nanoseconds.
///
/// The window is twice what the application could give back within a round trip and the handling of a message. The rate is
/// that of the time in which the application has messages: while it has none it says nothing of what it could do. A window
/// that is too small for the peer's distance is therefore found at once, and a slow application keeps few messages from
/// others. A fast application gives back many at once, which makes that rate too high: the window is at most 32 times what
/// was given back by the clock while that grows, and one and a half times afterwards.
///
/// A fast application has ample places in any case, and nearby no more: consumers of one queue then have the same window,
/// whatever they saw of each other's load when they measured the round trip. For the same reason a round trip that was
/// measured is only ever replaced by a shorter one: among consumers a longer one is the queue of the others.
struct CreditTuner {
    /// What there has been in all.
    struct Totals {
        var granted = 0
        var arrived = 0
        var freed = 0
    }

    /// The messages of the window before anything is known.
    static let start = 64
    static let least = 2
    static let most = 65_536
    /// Messages, or nanoseconds with messages, that make a sample of the rate.
    private static let sampleCount = 16
    private static let sampleTime: Int64 = 100_000_000
    /// No application is faster, by messages in a nanosecond: less time than that cannot be measured.
    private static let highestRate = 0.01
    /// What the window may be, of what is given back in a round trip: while it grows, and afterwards.
    private static let growth = 32.0
    private static let steady = 1.5
    /// It grows until that many spans in turn have not brought that many times what the best before them did.
    private static let flatSpans = 3
    private static let gain = 1.25
    /// The least time, in nanoseconds, for what is given back by the clock, and how long the highest counts.
    private static let growingSpan: Int64 = 2_000_000
    private static let steadySpan: Int64 = 50_000_000
    private static let peakAge: Int64 = 1_000_000_000
    /// The messages that a fast application has in any case, and their bytes.
    private static let ample = 8_192
    private static let ampleBytes = 4 << 20
    /// How long after a measurement the round trip is measured again, in nanoseconds; and how long after the first, where the
    /// window hangs on it: many who begin at the same time all find it too long.
    private static let roundTripAge: Int64 = 10_000_000_000
    private static let firstRoundTripAge: Int64 = 1_000_000_000
    /// Of a rate that is not seen any more, what is left after a second with messages.
    private static let decay = 0.9
    /// A sample of the handling that is older is replaced by the next, in nanoseconds.
    private static let handlingAge: Int64 = 30_000_000_000

    private(set) var window = Self.start
    /// Messages that are given back in a nanosecond with messages; 0 before the first sample.
    private(set) var rate = 0.0
    /// The least time from a grant to the first message for it, in nanoseconds.
    private(set) var roundTrip: Int64?
    /// The least time from the arrival of a message that found none before it to its end, in nanoseconds.
    private(set) var handling: Int64 = 0

    private var last = Totals()
    private var time: Int64?
    private var held = 0
    private var sample = (freed: 0, time: Int64(0))
    /// What has been given back by the clock, since a time.
    private var span: (freed: Int, time: Int64)?
    /// The most that was given back in a nanosecond of the clock lately, and when.
    private var peak: (rate: Double, time: Int64)?
    /// More places still bring more messages: the highest rate so far, and for how many spans it has not risen.
    private var growing: (best: Double, flat: Int)? = (0, 0)
    /// A grant for which no message has come: those that were granted before it, and when.
    private var grant: (before: Int, time: Int64)?
    /// When the round trip was measured with nothing before it, and what had been given back by then.
    private var probe: (freed: Int, time: Int64)?
    /// The round trip was measured when messages flowed, and not only at the beginning.
    private var isConfirmed = false
    /// The window is larger than it would be nearby.
    private var isFar = false
    /// No more credit until all is used: the next message then tells the round trip, and not how long others waited for their turn.
    private(set) var isProbing = false
    /// When a message came that found none before it.
    private var firstArrival: Int64?
    private var handlingTime: Int64?
    /// More messages than the window had were needed at the same time.
    private var needed = 0.0

    /// The time between an attach and its answer: a round trip at least.
    mutating func answered(after nanoseconds: Int64) {
        self.take(roundTrip: nanoseconds)
    }

    /// Looks at what has happened since the last time. To be called after messages have come, and after some were given back.
    ///
    /// - Parameter size: The bytes that the next messages are expected to have each.
    mutating func update(_ totals: Totals, held: Int, size: Int = CreditWindow.leastSize, at now: Int64) {
        let elapsed = self.time.map { max(0, now - $0) } ?? 0
        let freed = totals.freed - self.last.freed
        if self.held > 0 { self.sample.time += elapsed }
        self.sample.freed += freed
        self.lookAtGrants(totals, now)
        self.lookAtHandling(freed, held, now)
        let isNew = self.lookAtClock(freed, now)
        self.last = totals
        self.time = max(now, self.time ?? now)
        self.held = held
        let isSampled =
            self.sample.freed >= Self.sampleCount || self.sample.freed > 0 && self.sample.time >= Self.sampleTime
        if isSampled { self.takeSample() }
        if isSampled || isNew, self.rate > 0 { self.setWindow(size) }
    }

    /// The application holds messages for which there is no place, and waits for more: it needs them at the same time.
    mutating func isShort(_ held: Int) {
        self.needed = min(Double(Self.most), max(self.needed, 1.5 * Double(held) + 1))
        self.window = max(self.window, Int(self.needed))
    }

    private mutating func lookAtGrants(_ totals: Totals, _ now: Int64) {
        if let grant = self.grant, totals.arrived > grant.before {
            self.take(roundTrip: now - grant.time)
            self.grant = nil
        }
        guard totals.granted > self.last.granted else { return self.lookAtAge(totals, now) }
        if self.grant == nil { self.grant = (self.last.granted, now) }
        if self.isProbing {
            self.isProbing = false
            self.isConfirmed = true
            self.probe = (totals.freed, now)
        }
    }

    /// Asks for a measurement where the last is old, and messages flow: on a link that is idle there is nothing to be learned.
    private mutating func lookAtAge(_ totals: Totals, _ now: Int64) {
        guard let probe = self.probe else { return self.probe = (totals.freed, now) }
        let age = self.isFar && !self.isConfirmed ? Self.firstRoundTripAge : Self.roundTripAge
        if now - probe.time >= age, totals.freed - probe.freed >= 4 * self.window {
            self.isProbing = true
        }
    }

    /// Counts what is given back by the clock. Returns whether there is a new figure.
    private mutating func lookAtClock(_ freed: Int, _ now: Int64) -> Bool {
        guard let span = self.span else {
            self.span = (freed, now)
            return false
        }
        let elapsed = now - span.time
        self.span?.freed += freed
        let least = self.growing == nil ? Self.steadySpan : Self.growingSpan
        guard elapsed >= max(least, (self.roundTrip ?? 0) + self.handling) else { return false }
        let rate = Double(span.freed + freed) / Double(elapsed)
        self.span = (0, now)
        // Nothing was known of what the peer can do for a while.
        if span.freed == 0, elapsed > Self.peakAge { self.growing = (0, 0) }
        let isOver = self.lookAtGrowth(rate)
        if isOver || rate >= self.peak?.rate ?? 0 || now - (self.peak?.time ?? 0) > Self.peakAge {
            self.peak = (rate, now)
        }
        return true
    }

    /// Returns whether the window has grown as far as it is of use.
    private mutating func lookAtGrowth(_ rate: Double) -> Bool {
        guard let (best, flat) = self.growing else { return false }
        if rate >= Self.gain * best {
            self.growing = (rate, 0)
            return false
        }
        self.growing = flat + 1 < Self.flatSpans ? (max(best, rate), flat + 1) : nil
        return self.growing == nil
    }

    private mutating func take(roundTrip: Int64) {
        self.roundTrip = min(self.roundTrip ?? .max, max(0, roundTrip))
    }

    private mutating func lookAtHandling(_ freed: Int, _ held: Int, _ now: Int64) {
        if freed > 0, let arrival = self.firstArrival {
            let handling = now - arrival
            if handling <= self.handling || self.handlingTime.map({ now - $0 > Self.handlingAge }) ?? true {
                (self.handling, self.handlingTime) = (handling, now)
            }
            self.firstArrival = nil
        }
        if self.held == 0, held > 0, freed == 0 { self.firstArrival = now }
    }

    private mutating func takeSample() {
        let rate = min(Double(self.sample.freed) / Double(max(1, self.sample.time)), Self.highestRate)
        // By the second, in steps of a sample.
        let kept = 1 - (1 - Self.decay) * min(1, Double(self.sample.time) / 1e9)
        self.rate = max(rate, self.rate * kept)
        self.needed *= kept
        self.sample = (0, 0)
    }

    private mutating func setWindow(_ size: Int) {
        let time = Double((self.roundTrip ?? 0) + self.handling)
        let growth = self.growing == nil ? Self.steady : Self.growth
        let seen = self.peak.map { growth * $0.rate * time } ?? growth * Double(Self.start)
        let needed = min(2 * self.rate * time, seen)
        let ample = min(self.rate * 1e8, Double(min(Self.ample, Self.ampleBytes / max(size, 1)))) + 2
        self.isFar = needed > ample
        self.window = max(Self.least, Int(min(max(needed, ample, self.needed), Double(Self.most))))
    }
}
