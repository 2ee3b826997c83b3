// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

struct BackoffTests {
    @Test func eachWindowAllowsOneImmediateAttempt() {
        var backoff = Backoff()
        var random = SeededGenerator(seed: 1)
        #expect(backoff.delay(at: .zero, using: &random) == .zero)
        #expect(backoff.delay(at: .seconds(1), using: &random) > .zero)
        #expect(backoff.delay(at: .seconds(29), using: &random) > .zero)
        #expect(backoff.delay(at: .seconds(30), using: &random) == .zero)
        #expect(backoff.delay(at: .seconds(31), using: &random) > .zero)
        #expect(backoff.delay(at: .seconds(60), using: &random) == .zero)
    }

    @Test func theBoundDoublesUpToTheLongest() {
        var backoff = Backoff()
        var random = SeededGenerator(seed: 2)
        _ = backoff.delay(at: .zero, using: &random)
        var bounds: [Duration] = []
        for _ in 0..<60 {
            bounds.append(backoff.bound)
            #expect(backoff.delay(at: .zero, using: &random) <= backoff.limits.longest)
        }
        #expect(bounds.prefix(4) == [.milliseconds(100), .milliseconds(200), .milliseconds(400), .milliseconds(800)])
        #expect(bounds[9...].allSatisfy { $0 == .seconds(30) })
    }

    @Test func delaysAreUniformBelowTheBound() {
        var random = SeededGenerator(seed: 3)
        var delays: [Duration] = []
        for _ in 0..<4_000 {
            var backoff = Backoff()
            _ = backoff.delay(at: .zero, using: &random)
            delays.append(backoff.delay(at: .zero, using: &random))
        }
        #expect(delays.allSatisfy { $0 >= .zero && $0 <= .milliseconds(100) })
        for tenth in 0..<10 {
            let count = delays.count {
                $0 / .milliseconds(10) >= Double(tenth) && $0 / .milliseconds(10) < Double(tenth + 1)
            }
            #expect((300...500).contains(count), "\(count) delays in tenth \(tenth)")
        }
    }

    @Test func onlyAStableTimeStartsAgain() {
        var backoff = Backoff()
        var random = SeededGenerator(seed: 4)
        for _ in 0..<5 { _ = backoff.delay(at: .zero, using: &random) }
        #expect(backoff.tries == 4)
        backoff.ended(openSince: .seconds(1), at: .seconds(30))
        #expect(backoff.tries == 4)
        backoff.ended(openSince: .seconds(31), at: .seconds(61))
        #expect(backoff.tries == 0)
    }

    @Test func extremeLimitsDoNotTrap() {
        var limits = Backoff.Limits()
        limits.first = .seconds(Int64.max)
        limits.longest = .seconds(Int64.max)
        var random = SeededGenerator(seed: 5)
        for limits in [limits, Backoff.Limits(first: .zero, longest: .zero, window: .zero, stable: .zero)] {
            var backoff = Backoff(limits)
            for _ in 0..<100 { #expect(backoff.delay(at: .zero, using: &random) >= .zero) }
        }
    }
}
