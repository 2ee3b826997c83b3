// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// A sender's limit falls towards the bytes that the link sends in 1.5 ms while tasks wait, and rises while none waits.
struct AdmissionTunerTests {
    private static let millisecond: Int64 = 1_000_000

    /// Releases bytes at a constant rate, in steps of a millisecond. `left` bytes remain after each step.
    private func run(
        _ tuner: inout AdmissionTuner,
        milliseconds: Int,
        bytesEach: Int,
        left: Int = 1,
        wasWaiting: Bool = true,
        credit: Int = 0,
        from start: inout Int64
    ) {
        for _ in 0..<milliseconds {
            start += Self.millisecond
            _ = tuner.release(bytesEach, left: left, wasWaiting: wasWaiting, credit: credit, at: start)
        }
    }

    @Test func aSustainedBacklogLowersTheLimitToWhatTheLinkSendsSoon() {
        var tuner = AdmissionTuner(ceiling: 1 << 20)
        var now: Int64 = 0
        tuner.admit(100)
        self.run(&tuner, milliseconds: 60, bytesEach: 60_000, from: &now)
        #expect(tuner.limit == 1 << 20, "it observes some queues first")
        self.run(&tuner, milliseconds: 200, bytesEach: 60_000, from: &now)
        #expect((85_000...98_000).contains(tuner.limit))
        #expect(tuner.low == tuner.limit - tuner.limit / 8)
        // A slower link lowers the limit, and a faster one raises it, without delay.
        self.run(&tuner, milliseconds: 100, bytesEach: 30_000, from: &now)
        #expect((41_000...49_000).contains(tuner.limit))
        self.run(&tuner, milliseconds: 8, bytesEach: 300_000, from: &now)
        #expect(tuner.limit >= 400_000)
    }

    @Test func theLimitRisesWhileNoTaskWaits() {
        var tuner = AdmissionTuner(ceiling: 1 << 20)
        var now: Int64 = 0
        self.run(&tuner, milliseconds: 2_000, bytesEach: 10_000, from: &now)
        #expect(tuner.limit == AdmissionTuner.least)
        self.run(&tuner, milliseconds: 700, bytesEach: 10_000, wasWaiting: false, from: &now)
        #expect(tuner.limit == 1 << 20)
    }

    /// The idle time between bursts does not count in the pace of a link.
    @Test func idleTimeDoesNotLowerTheLimit() {
        var tuner = AdmissionTuner(ceiling: 1 << 20)
        var now: Int64 = 0
        for _ in 0..<40 {
            self.run(&tuner, milliseconds: 40, bytesEach: 60_000, from: &now)
            self.run(&tuner, milliseconds: 1, bytesEach: 60_000, left: 0, wasWaiting: false, from: &now)
            now += 500 * Self.millisecond
        }
        #expect((85_000...115_000).contains(tuner.limit))
    }

    @Test func theLimitCoversTheBytesThatTheCreditAllows() {
        var tuner = AdmissionTuner(ceiling: 1 << 20)
        var now: Int64 = 0
        for _ in 0..<100 { tuner.admit(1_000) }
        self.run(&tuner, milliseconds: 2_000, bytesEach: 10_000, credit: 500, from: &now)
        #expect(tuner.limit == 500_000)
        self.run(&tuner, milliseconds: 2_000, bytesEach: 10_000, credit: .max, from: &now)
        #expect(tuner.limit == 1 << 20)
    }

    /// A task that outruns the link fills the queue, and waits until an eighth of the queue is sent. During most
    /// releases, no task waits.
    @Test(arguments: [1, 2, 4, 8]) func aTaskThatIsFasterThanTheLinkLowersTheLimit(times: Int) {
        var gate = SendGate<Int>()
        let link = gate.addLevel(ByteLedger(high: 1 << 20, low: 1 << 19), parent: nil, isAutomatic: true)
        var (now, id, isWaiting) = (Int64(0), UInt64(0), false)
        for _ in 0..<20_000 {
            // 100 us: the link sends 6,000 bytes, and the task offers more.
            now += Self.millisecond / 10
            for _ in 0..<60 * times where !isWaiting {
                if case .admitted = gate.admit(100, at: link, isWaiting: true) { continue }
                id += 1
                gate.wait(0, id: id, bytes: 100, at: link)
                isWaiting = true
            }
            let wasWaiting = gate.hasWaiters(link)
            let bytes = min(6_000, gate.ledger(link)?.used ?? 0)
            let left = (gate.ledger(link)?.used ?? 0) - bytes
            var passed = gate.release(bytes, at: link)
            passed += gate.tune(link, released: bytes, left: left, wasWaiting: wasWaiting, credit: 1_000, at: now)
            if !passed.isEmpty { isWaiting = false }
        }
        let limit = gate.tunedLimit(link) ?? 0
        if times == 1 {
            #expect(limit == 1 << 20, "the link keeps up")
        } else {
            #expect((85_000...115_000).contains(limit), "\(limit)")
        }
    }

    /// In every case the limit is between 32 KiB, or a lower ceiling, and the ceiling.
    @Test func theLimitIsAlwaysWithinItsBounds() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let ceiling = Int.random(in: 1...4_000_000, using: &random)
            var tuner = AdmissionTuner(ceiling: ceiling)
            var now = Int64.random(in: 0...1_000_000_000, using: &random)
            for _ in 0..<200 {
                now += Int64.random(in: 0...10_000_000, using: &random)
                if Bool.random(using: &random) { tuner.admit(Int.random(in: 1...1_000_000, using: &random)) }
                _ = tuner.release(
                    Int.random(in: 0...10_000_000, using: &random),
                    left: Int.random(in: 0...3, using: &random),
                    wasWaiting: Int.random(in: 0..<10, using: &random) > 0,
                    credit: Int.random(in: -5...5_000, using: &random),
                    at: now
                )
                let isBounded = min(ceiling, AdmissionTuner.least)...ceiling ~= tuner.limit && tuner.low <= tuner.limit
                #expect(isBounded, "QPID_PROTON_SEED=\(seed): \(tuner)")
            }
        }
    }
}
