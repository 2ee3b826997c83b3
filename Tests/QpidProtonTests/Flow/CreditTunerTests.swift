// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Testing

@testable import QpidProton

/// A queue, a line to each of its consumers, and handlers that process one message at a time. All times are in
/// nanoseconds.
private struct Simulation {
    struct Consumer {
        var window: CreditWindow
        var credits: Deque<(time: Int64, count: Int)> = []
        var arrivals: Deque<Int64> = []
        var credit = 0
        var lineFree: Int64 = 0
        var buffered: Deque<Int> = []
        var working: (end: Int64, weight: Int)?
        var done = 0
        var attachTime: Int64 = 0
        var isAttached = false
    }

    var consumers: [Consumer]
    var queue: Int
    let size: Int
    /// Half of a round trip.
    let way: Int64
    let handling: Int64
    /// The time that a message occupies the line, at 100 MB/s.
    var duration: Int64 { Int64(self.size) * 10 }
    private(set) var now: Int64 = 1_000_000_000
    private var turn = 0

    init(_ policies: [CreditPolicy], queue: Int = .max, size: Int, roundTrip: Int64, handling: Int64, apart: Int64 = 0)
    {
        self.queue = queue
        self.size = size
        self.way = roundTrip / 2
        self.handling = handling
        self.consumers = policies.enumerated().map { index, policy in
            var consumer = Consumer(window: CreditWindow(policy, maxMessageSize: 64 << 20))
            consumer.attachTime = 1_000_000_000 + Int64(index) * apart
            return consumer
        }
    }

    private mutating func flow(_ index: Int, _ credit: Int) {
        guard credit > 0 else { return }
        self.consumers[index].credits.append((self.now + self.way, credit))
        self.consumers[index].window.tune(at: self.now)
    }

    private mutating func take(_ index: Int) {
        if let weight = self.consumers[index].buffered.popFirst() {
            self.consumers[index].working = (self.now + self.handling, weight)
        } else if self.consumers[index].window.outstanding == 0 {
            self.consumers[index].window.starve()
        }
    }

    /// Returns the consumer whose turn it is. The queue sends one message to each consumer with credit in turn.
    private func next() -> (index: Int, time: Int64)? {
        guard self.queue > 0 else { return nil }
        var best: (index: Int, time: Int64)?
        for offset in 0..<self.consumers.count {
            let index = (self.turn + offset) % self.consumers.count
            guard self.consumers[index].credit > 0 else { continue }
            let time = max(self.now, self.consumers[index].lineFree)
            if best == nil || time < best?.time ?? 0 { best = (index, time) }
        }
        return best
    }

    /// Performs the next step. Returns `false` if there is none.
    mutating func step() -> Bool {
        var time = Int64.max
        var (kind, which) = (0, 0)
        func look(_ at: Int64?, _ step: Int, _ index: Int) {
            guard let at, at < time else { return }
            (time, kind, which) = (at, step, index)
        }
        for index in self.consumers.indices {
            if !self.consumers[index].isAttached { look(self.consumers[index].attachTime, 1, index) }
            look(self.consumers[index].credits.first?.time, 2, index)
            look(self.consumers[index].arrivals.first, 3, index)
            look(self.consumers[index].working?.end, 4, index)
        }
        if let next = self.next() { look(next.time, 5, next.index) }
        guard time < .max else { return false }
        self.now = max(self.now, time)
        switch kind {
        case 1:
            self.consumers[which].isAttached = true
            self.consumers[which].window.attached(after: 2 * self.way)
        case 2: self.consumers[which].credit += self.consumers[which].credits.removeFirst().count
        case 3:
            self.consumers[which].arrivals.removeFirst()
            _ = self.consumers[which].window.arrive()
            self.consumers[which].buffered.append(self.consumers[which].window.complete(self.size))
            self.consumers[which].window.tune(at: self.now)
            if self.consumers[which].working == nil { self.take(which) }
        case 4:
            let weight = self.consumers[which].working?.weight ?? 0
            self.consumers[which].working = nil
            self.consumers[which].done += 1
            self.consumers[which].window.free(1, bytes: weight)
            self.consumers[which].window.tune(at: self.now)
            self.take(which)
        default:
            self.turn = (which + 1) % self.consumers.count
            self.queue -= 1
            self.consumers[which].credit -= 1
            self.consumers[which].lineFree = self.now + self.duration
            self.consumers[which].arrivals.append(self.now + self.duration + self.way)
            return true
        }
        self.flow(which, self.consumers[which].window.topUp())
        return true
    }

    /// Performs some steps, and then yields to other tests.
    mutating func steps() async -> Bool {
        await Task.yield()
        for _ in 0..<100 where !self.step() { return false }
        return true
    }

    var done: Int { self.consumers.reduce(0) { $0 + $1.done } }

    /// Returns the messages per second, after a warm-up.
    mutating func rate(after warmUp: Int64, messages: Int) async -> Double {
        let begin = self.now + warmUp
        while self.now < begin, await self.steps() {}
        let (start, before) = (self.now, self.done)
        while self.done < before + messages, await self.steps() {}
        return Double(self.done - before) / Double(self.now - start) * 1e9
    }
}

/// A self-tuning window: as fast as the best fixed one, and no larger than useful.
@Suite(.serialized, .deadline(minutes: 5))
struct CreditTunerTests {
    private static let budget = 16 << 20

    @Test(arguments: [100_000, 5_000_000, 50_000_000] as [Int64], [2_000, 1_000_000, 10_000_000] as [Int64])
    func asFastAsTheBestFixedWindow(roundTrip: Int64, handling: Int64) async {
        for size in [100, 10 << 10, 1 << 20] {
            let isFast = handling < 100_000 && size == 100
            let messages = isFast ? 40_000 : 400
            // The largest window of the same budget is the best one, because nothing else in this test suffers from it.
            let largest = min(65_536, Self.budget / max(size, CreditWindow.leastSize))
            let warmUp = (isFast ? 60_000_000 : 200_000_000) + 6 * roundTrip
            var fixed = Simulation([.messages(largest)], size: size, roundTrip: roundTrip, handling: handling)
            let best = await fixed.rate(after: 2 * roundTrip + 20 * handling, messages: messages)
            var tuned = Simulation([.automatic(Self.budget)], size: size, roundTrip: roundTrip, handling: handling)
            let rate = await tuned.rate(after: warmUp, messages: messages)
            let window = tuned.consumers[0].window
            print(
                "\(roundTrip) ns, \(handling) ns, \(size) B: \(Int(rate))/s of \(Int(best))/s, window \(window.tuner.window)"
            )
            #expect(rate >= 0.9 * best)
            #expect(rate <= 1.05 * best)
            #expect(window.held == 0 || window.heldBytes <= Self.budget)
        }
    }

    @Test(arguments: [100_000, 5_000_000, 50_000_000] as [Int64], [1_000_000, 10_000_000] as [Int64])
    func severalConsumersShareAQueue(roundTrip: Int64, handling: Int64) async {
        // Each consumer begins one round trip after the previous one.
        var simulation = Simulation(
            Array(repeating: .automatic(Self.budget), count: 3),
            queue: 3_000,
            size: 1_000,
            roundTrip: roundTrip,
            handling: handling,
            apart: roundTrip
        )
        while await simulation.steps() {}
        let shares = simulation.consumers.map(\.done)
        #expect(shares.reduce(0, +) == 3_000)
        for share in shares { #expect((750...1_250).contains(share), "\(shares)") }
    }

    @Test func aSlowHandlerKeepsFewMessages() async {
        var slow = Simulation([.automatic(Self.budget)], size: 100, roundTrip: 100_000, handling: 10_000_000)
        _ = await slow.rate(after: 2_000_000_000, messages: 100)
        #expect((2...20).contains(slow.consumers[0].window.tuner.window))
        // The handler becomes fast, and slow again.
        var tuner = CreditTuner()
        tuner.answered(after: 5_000_000)
        var totals = CreditTuner.Totals()
        var now: Int64 = 0
        func work(_ count: Int, _ handling: Int64) {
            for _ in 0..<count {
                totals.arrived += 1
                tuner.update(totals, held: 1, at: now)
                now += handling
                totals.freed += 1
                tuner.update(totals, held: 0, at: now)
            }
        }
        #expect(tuner.window == CreditTuner.start)
        work(1_000, 10_000)
        #expect(tuner.window > 1_000)
        work(6_000, 10_000_000)
        #expect(tuner.window < 150)
        // A pause without messages does not change the window.
        let before = tuner.window
        now += 3_600_000_000_000
        work(20, 10_000_000)
        #expect(tuner.window <= before + 1 && tuner.window > before - 10)
    }

    @Test func theRoundTripIsTheLeastOfItsSamples() {
        var tuner = CreditTuner()
        #expect(tuner.roundTrip == nil)
        tuner.answered(after: 80)
        var totals = CreditTuner.Totals()
        totals.granted = 10
        tuner.update(totals, held: 0, at: 1_000)
        totals.arrived = 10
        tuner.update(totals, held: 10, at: 1_060)
        #expect(tuner.roundTrip == 60)
        // The first message of the new credit counts, not the last one of the old credit.
        totals.granted = 20
        tuner.update(totals, held: 10, at: 2_000)
        tuner.update(totals, held: 10, at: 2_010)
        totals.granted = 30
        tuner.update(totals, held: 10, at: 2_020)
        totals.arrived = 11
        tuner.update(totals, held: 11, at: 2_050)
        #expect(tuner.roundTrip == 50)
        tuner.answered(after: -5)
        #expect(tuner.roundTrip == 0)
    }

    /// An application that releases many messages at once is slower than the burst suggests. For large messages the
    /// window covers only the messages in flight.
    @Test(arguments: [(100, 8_194...8_194), (10_240, 2_700...2_800)])
    func batchedReturnsDoNotEnlargeTheWindow(size: Int, window: ClosedRange<Int>) {
        var tuner = CreditTuner()
        tuner.answered(after: 5_000_000)
        var totals = CreditTuner.Totals()
        var now: Int64 = 1_000_000_000
        // By the clock the rate is 366,000 messages per second. While the application holds messages, it is 12,800,000.
        for _ in 0..<10_000 {
            totals.arrived += 128
            tuner.update(totals, held: 128, size: size, at: now)
            now += 10_000
            totals.freed += 128
            tuner.update(totals, held: 0, size: size, at: now)
            now += 340_000
        }
        #expect(window.contains(tuner.window), "\(tuner.window)")
    }

    /// The round trip was measured while all consumers began, and was too long. A shorter one replaces it. A longer one
    /// measures the queue of other consumers, and must not enlarge the window.
    @Test func theRoundTripIsMeasuredAgain() {
        var window = CreditWindow(.automatic(Self.budget))
        var now: Int64 = 1_000_000_000
        window.attached(after: 50_000_000)
        func step(_ time: Int64, _ body: (inout CreditWindow) -> Void) {
            now += time
            body(&window)
            window.tune(at: now)
        }
        var way: Int64 = 25_000_000
        // A peer that uses all credit at once.
        func work(_ seconds: Int64) {
            let end = now + seconds * 1_000_000_000
            while now < end {
                if window.topUp() > 0 { window.tune(at: now) }
                step(2 * way) { _ in }
                let count = min(window.outstanding, 100)
                for _ in 0..<count {
                    _ = window.arrive()
                    _ = window.complete(100)
                }
                window.tune(at: now)
                step(10_000) { $0.free(count, bytes: count * CreditWindow.leastSize) }
            }
        }
        work(5)
        #expect(window.tuner.roundTrip == 50_000_000)
        way = 500_000
        work(12)
        #expect(window.tuner.roundTrip == 1_000_000)
        way = 25_000_000
        work(30)
        #expect(window.tuner.roundTrip == 1_000_000)
    }

    /// A window whose size depends on a round trip measured at the start is measured again after one second, not ten.
    @Test func aRoundTripThatMakesTheWindowLargeIsMeasuredSoon() {
        /// Returns the seconds until the tuner corrects a window that covers 50 ms, for an application with `perTurn`
        /// messages a turn.
        func secondsUntilItIsFound(_ perTurn: Int) -> Int64 {
            var window = CreditWindow(.automatic(Self.budget))
            let start: Int64 = 1_000_000_000
            var now = start
            window.attached(after: 50_000_000)
            while window.tuner.roundTrip ?? 0 > 1_000_000, now < start + 30_000_000_000 {
                // Other consumers receive their messages first. Only a measurement waits without credit, and then only
                // the line's delay counts.
                let isMeasuring = window.tuner.isProbing
                let isAlone = isMeasuring && window.outstanding == 0
                if window.topUp() > 0 { window.tune(at: now) }
                let count = min(isMeasuring ? window.outstanding : window.outstanding - 1, perTurn)
                now += isAlone ? 500_000 : 50_000_000
                for _ in 0..<count {
                    _ = window.arrive()
                    _ = window.complete(100)
                }
                window.tune(at: now)
                now += 10_000
                window.free(count, bytes: count * CreditWindow.leastSize)
                window.tune(at: now)
            }
            return (now - start) / 1_000_000_000
        }
        // 200,000 messages per second over 50 ms exceed the window of any nearby application; 20,000 do not.
        #expect(secondsUntilItIsFound(10_000) == 1)
        #expect(secondsUntilItIsFound(1_000) == 10)
    }

    /// The application uses all credit before a round trip is measured.
    @Test func aMeasurementBeginsWithoutCredit() {
        var window = CreditWindow(.automatic(Self.budget))
        var now: Int64 = 1_000_000_000
        window.attached(after: 1_000_000)
        _ = window.topUp()
        window.tune(at: now)
        func takeOne() {
            _ = window.arrive()
            _ = window.complete(100)
            window.free(1, bytes: CreditWindow.leastSize)
            now += 10_000
            window.tune(at: now)
        }
        while !window.tuner.isProbing {
            takeOne()
            if window.topUp() > 0 { window.tune(at: now) }
        }
        #expect(now > 11_000_000_000)
        while window.outstanding > 0 {
            let more = window.topUp()
            #expect(more == 0)
            takeOne()
        }
        let credit = window.topUp()
        #expect(credit > 0)
        window.tune(at: now)
        #expect(!window.tuner.isProbing)
        now += 5_000
        _ = window.arrive()
        window.tune(at: now)
        #expect(window.tuner.roundTrip == 5_000)
    }

    /// The task holds messages and waits for more. A window that ended there would stop it forever.
    @Test func aWaiterThatHoldsAllMessagesGetsMoreCredit() {
        for budget in [1_000, Self.budget] {
            var window = CreditWindow(.automatic(budget))
            var held = 0
            for _ in 0..<2_000 {
                if window.outstanding == 0 { window.starve() }
                _ = window.topUp()
                #expect(window.outstanding > 0)
                guard window.arrive() else { break }
                _ = window.complete(1_000)
                held += 1
            }
            #expect(held == 2_000 && window.held == 2_000)
        }
    }

    @Test func returnedCreditIsGrantedAgain() {
        var window = CreditWindow(.automatic(Self.budget))
        #expect(window.topUp() == CreditTuner.start)
        window.tune(at: 1)
        window.pause()
        window.drained()
        #expect(window.topUp() == 0 && window.outstanding == 0)
        window.resume()
        #expect(window.topUp() == CreditTuner.start)
        window.returned(1_000)
        #expect(window.outstanding == 0)
    }
}
