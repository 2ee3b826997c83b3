// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The token buckets on their own.
@Suite struct RateLimiterTests {
    private let second: Int64 = 1_000_000_000

    @Test func theBurstIsTheTimesAllowance() {
        var limiter = RateLimiter(.init(messagesPerSecond: 1_000, bytesPerSecond: 1_000_000), now: 5)
        #expect(limiter.available(now: 5) == (100, 100_000))
        var low = RateLimiter(.init(messagesPerSecond: 0.1, bytesPerSecond: 1, burst: .zero), now: 5)
        #expect(low.available(now: 5) == (1, 16_384))
        var none = RateLimiter(.init(), now: 5)
        none.take(messages: 1_000, bytes: 1_000_000)
        #expect(none.available(now: 5) == (.max, .max))
        #expect(none.nextTime(now: 5) == 5)
    }

    @Test(arguments: [0.7, 3, 100, 333.333_333_3, 1e6, 12_345_678.9])
    func nothingDriftsOverAThousandMillionMessages(rate: Double) {
        let limit = AMQPRateLimit(messagesPerSecond: rate, burst: .zero)
        var limiter = RateLimiter(limit, now: 0)
        var now: Int64 = 0
        var sum = limiter.available(now: 0).messages
        limiter.take(messages: sum, bytes: 0)
        let capacity = sum
        var steps = 0
        while sum < 1_000_000_000, steps < 200_000 {
            now = limiter.nextTime(now: now)
            let (messages, _) = limiter.available(now: now)
            guard messages > 0 else { break }
            // Counting many messages in one step equals counting them one by one.
            let bulk = messages + sum / 1_000
            limiter.take(messages: bulk, bytes: 0)
            sum += bulk
            steps += 1
        }
        #expect(sum >= 1_000_000_000)
        let end = limiter.nextTime(now: now)
        let earned = rate * Double(end) / 1e9
        // At the end of the wait the expected message has its token, and no more tokens exist.
        #expect(abs(earned + Double(capacity) - Double(sum) - Double(max(1, min(capacity, Int(rate / 1_000))))) < 1)
    }

    @Test func aLongIdleTimeFillsTheBucketAndNoMore() {
        var limiter = RateLimiter(.init(messagesPerSecond: 1e12, bytesPerSecond: 1e15), now: -1_000)
        let full = limiter.available(now: -1_000)
        limiter.take(messages: full.messages, bytes: full.bytes)
        #expect(limiter.available(now: -1_000) == (0, 0))
        #expect(limiter.available(now: .max) == full)
        #expect(limiter.available(now: .max) == full)
        // A clock that moves backwards adds and removes no tokens.
        limiter.take(messages: 1, bytes: 1)
        #expect(limiter.available(now: 0) == (full.messages - 1, full.bytes - 1))
    }

    @Test func theNextTimeIsThatOfAFullStep() {
        for rate in [0.3, 7, 999, 1_000, 4_321, 250_000.5] {
            var limiter = RateLimiter(.init(messagesPerSecond: rate), now: 0)
            limiter.take(messages: limiter.available(now: 0).messages, bytes: 0)
            let step = max(1, Int(rate / 1_000))
            let time = limiter.nextTime(now: 0)
            var before = limiter
            #expect(before.available(now: time - 2).messages < step)
            #expect(limiter.available(now: time).messages >= step)
            #expect(limiter.nextTime(now: time) == time)
        }
    }

    @Test func bytesGoIntoDebt() {
        var limiter = RateLimiter(.init(messagesPerSecond: 1, bytesPerSecond: 1_000), now: 0)
        limiter.take(messages: 1, bytes: 16_384 + 4_000)
        #expect(limiter.available(now: 3 * self.second) == (1, 0))
        #expect(limiter.nextTime(now: 0) == 4 * self.second + 1_000_000)
        #expect(limiter.available(now: 5 * self.second).bytes == 1_000)
        limiter.take(messages: 5, bytes: 0)
        let next = limiter.nextTime(now: 5 * self.second)
        #expect(next > 5 * self.second)
        // The rest of a message has already been counted.
        #expect(limiter.nextTime(now: 5 * self.second, isMidMessage: true) == 5 * self.second)
    }

    @Test func aChangedLimitGrantsNoFurtherBurst() {
        var limiter = RateLimiter(.init(messagesPerSecond: 100), now: 0)
        limiter.take(messages: 10, bytes: 0)
        limiter.change(to: .init(messagesPerSecond: 1_000), now: 0)
        #expect(limiter.available(now: 0).messages == 0)
        #expect(limiter.available(now: self.second / 100).messages == 10)
        limiter.change(to: .init(messagesPerSecond: 20, bytesPerSecond: 10), now: self.second / 100)
        #expect(limiter.available(now: self.second / 100) == (2, 16_384))
    }

    @Test func ratesMustBePositiveAndFinite() async {
        for rate in [0, -1, .infinity, .nan] as [Double] {
            await expectError(.invalidArgument) { try AMQPRateLimit(messagesPerSecond: rate).validate() }
            await expectError(.invalidArgument) { try AMQPRateLimit(bytesPerSecond: rate).validate() }
        }
        await expectError(.invalidArgument) { try AMQPRateLimit(burst: .seconds(-1)).validate() }
        #expect(throws: Never.self) { try AMQPRateLimit(messagesPerSecond: 1, bytesPerSecond: 1e-300).validate() }
    }
}
