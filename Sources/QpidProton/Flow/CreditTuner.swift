// SPDX-License-Identifier: Apache-2.0

/// The tuned number of messages on their way to a receiver, computed from arrivals and returned places. The caller
/// passes times in nanoseconds.
///
/// The window is twice the messages that the application could return within a round trip and the handling of a
/// message. The rate counts only the time in which the application has messages, because an application without
/// messages shows no rate. So the tuner detects at once a window that is too small for the peer's distance. A slow
/// application withholds few messages from other consumers. A fast application returns many messages at once, which
/// makes that rate too high. Therefore the window is at most 32 times the messages returned in that time while it
/// grows, and one and a half times afterwards.
///
/// A fast application always has ample places, and no more if the peer is near. Consumers of one queue then have the
/// same window, independent of each other's load during the measurement. For the same reason only a shorter round trip
/// replaces the estimate. Among competing consumers, a longer round trip measures their queue.
struct CreditTuner {
    /// The totals so far.
    struct Totals {
        var granted = 0
        var arrived = 0
        var freed = 0
    }

    /// The window before the first measurement, in messages.
    static let start = 64
    static let least = 2
    static let most = 65_536
    /// The number of messages, or of nanoseconds with messages, in one sample of the rate.
    private static let sampleCount = 16
    private static let sampleTime: Int64 = 100_000_000
    /// The highest rate, in messages per nanosecond, because shorter times cannot be measured.
    private static let highestRate = 0.01
    /// The largest window relative to the messages returned in a round trip: during growth, and afterwards.
    private static let growth = 32.0
    private static let steady = 1.5
    /// Growth ends when `flatSpans` spans in a row have not raised the best earlier rate by the factor `gain`.
    private static let flatSpans = 3
    private static let gain = 1.25
    /// The shortest spans of the clock for a rate, and how long the highest rate counts, in nanoseconds.
    private static let growingSpan: Int64 = 2_000_000
    private static let steadySpan: Int64 = 50_000_000
    private static let peakAge: Int64 = 1_000_000_000
    /// The number of places that a fast application always has, and the limit of their bytes.
    private static let ample = 8_192
    private static let ampleBytes = 4 << 20
    /// The time until the tuner measures the round trip again, in nanoseconds. The time is shorter after the first
    /// measurement if the window depends on the round trip. Many receivers that start together all measure too long.
    private static let roundTripAge: Int64 = 10_000_000_000
    private static let firstRoundTripAge: Int64 = 1_000_000_000
    /// The factor by which a rate falls in a second with messages if it does not recur.
    private static let decay = 0.9
    /// The age at which the next sample of the handling replaces an older sample, in nanoseconds.
    private static let handlingAge: Int64 = 30_000_000_000

    private(set) var window = Self.start
    /// Messages returned per nanosecond with messages; 0 before the first sample.
    private(set) var rate = 0.0
    /// The shortest time from a grant to its first message, in nanoseconds.
    private(set) var roundTrip: Int64?
    /// The shortest time from the arrival of a message at an idle receiver to its end, in nanoseconds.
    private(set) var handling: Int64 = 0

    private var last = Totals()
    private var time: Int64?
    private var held = 0
    private var sample = (freed: 0, time: Int64(0))
    /// The number of messages returned since the start of the current span of the clock.
    private var span: (freed: Int, time: Int64)?
    /// The highest recent rate of a span, and its time.
    private var peak: (rate: Double, time: Int64)?
    /// The growth of the window: the highest rate so far, and the number of spans without a rise; `nil` once growth has
    /// ended.
    private var growing: (best: Double, flat: Int)? = (0, 0)
    /// A grant of which no message has arrived: the number of messages granted before, and the time of the grant.
    private var grant: (before: Int, time: Int64)?
    /// The time of the last measurement without earlier messages, and the number of messages returned until then.
    private var probe: (freed: Int, time: Int64)?
    /// Whether the round trip was measured during a flow of messages, not only at the start.
    private var isConfirmed = false
    /// Whether the window is larger than a near peer would need.
    private var isFar = false
    /// Whether the receiver withholds credit until all credit is used, so that the next message shows the round trip
    /// and not a queue.
    private(set) var isProbing = false
    /// The arrival of a message at an idle receiver.
    private var firstArrival: Int64?
    private var handlingTime: Int64?
    /// The window that the application has needed at the same time, which decays.
    private var needed = 0.0

    /// Uses the time between an attach and its answer as an upper bound for a round trip.
    mutating func answered(after nanoseconds: Int64) {
        self.take(roundTrip: nanoseconds)
    }

    /// Evaluates the events since the last call. Call it after messages have arrived, and after some have returned.
    ///
    /// - Parameter size: The expected bytes of each further message.
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

    /// Raises the window for an application that holds all messages of the window and waits for more, because it needs
    /// them at the same time.
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

    /// Requests a measurement if the last measurement is old and messages flow. An idle link shows no round trip.
    private mutating func lookAtAge(_ totals: Totals, _ now: Int64) {
        guard let probe = self.probe else { return self.probe = (totals.freed, now) }
        let age = self.isFar && !self.isConfirmed ? Self.firstRoundTripAge : Self.roundTripAge
        if now - probe.time >= age, totals.freed - probe.freed >= 4 * self.window {
            self.isProbing = true
        }
    }

    /// Counts the messages returned in the current span of the clock. Returns whether there is a new rate.
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
        // The peer's rate was unknown for a while.
        if span.freed == 0, elapsed > Self.peakAge { self.growing = (0, 0) }
        let isOver = self.lookAtGrowth(rate)
        if isOver || rate >= self.peak?.rate ?? 0 || now - (self.peak?.time ?? 0) > Self.peakAge {
            self.peak = (rate, now)
        }
        return true
    }

    /// Evaluates the growth of the rate. Returns whether the window has just reached its useful size.
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
        // The decay is per second, applied in steps of a sample.
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
