// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The time at which withheld dispositions are sent.
@Suite struct DispositionPaceTests {
    private static func made() -> DispositionPace {
        var pace = DispositionPace()
        pace.delay = 100
        return pace
    }

    @Test func aRunAndTooManyWaitingLeaveAtOnce() {
        let pace = Self.made()
        let (run, most) = (DispositionPace.run, DispositionPace.mostWaiting)
        #expect(pace.step(ripe: run - 1, waiting: most - 1) == .nothing)
        #expect(pace.step(ripe: run, waiting: 0) == .ripe && pace.step(ripe: 0, waiting: most) == .waiting)
        let step = pace.step(ripe: run, waiting: most)
        #expect(step == .all && step.isRipe && step.isWaiting)
    }

    @Test func aBatchHasTheTimeOfItsBegin() {
        var pace = Self.made()
        #expect(!pace.isInBatch)
        pace.begin(at: 7)
        #expect(pace.isInBatch && pace.time == 7)
        let time = pace.end()
        #expect(time == 7 && !pace.isInBatch)
    }

    @Test func ripeDispositionsWaitForOneDelayAndOthersForFive() {
        var pace = Self.made()
        #expect(pace.deadline(ripeSince: .max, hasWaiting: false) == nil)
        #expect(pace.deadline(ripeSince: 10, hasWaiting: false) == 110)
        pace.wait(since: 20)
        pace.wait(since: 30)
        #expect(pace.waitingSince == 20)
        #expect(pace.deadline(ripeSince: .max, hasWaiting: true) == 520)
        #expect(pace.deadline(ripeSince: 10, hasWaiting: true) == 110)
        #expect(!pace.isRipeDue(10, at: 109) && pace.isRipeDue(10, at: 110))
        #expect(!pace.isRipeDue(.max, at: .max))
        #expect(!pace.isWaitingDue(at: 519) && pace.isWaitingDue(at: 520) && pace.lastDue(at: 520) == 420)
    }

    @Test func nothingIsOverdueWhenAllWasSent() {
        var pace = Self.made()
        pace.wait(since: 20)
        pace.sent(oldest: .max)
        #expect(!pace.isWaitingDue(at: .max) && pace.deadline(ripeSince: .max, hasWaiting: true) == nil)
        pace.sent(oldest: 50)
        #expect(pace.deadline(ripeSince: .max, hasWaiting: true) == 550)
    }
}

/// The message sizes that a receiver accepts.
@Suite struct ReceiverLimitsTests {
    private func limits(
        _ window: CreditPolicy,
        _ size: AMQPByteCount?,
        streams: Bool = false,
        largest: Int = .max
    ) -> ReceiverLimits {
        var configuration = AMQPReceiver.Configuration()
        configuration.maxMessageSize = size
        configuration.streamsMessages = streams
        return ReceiverLimits(configuration, CreditWindow(window), largest: largest)
    }

    @Test func theSmallestBoundIsAdvertised() {
        let free = self.limits(.messages(10), nil)
        #expect(
            free.advertised == nil && free.maxMessageSize == Int(Int32.max) && free.largestWhole == free.maxMessageSize
        )
        let sized = self.limits(.bytes(10_000), .bytes(3_000))
        #expect(sized.advertised == 3_000 && sized.maxMessageSize == 3_000 && sized.largestWhole == 3_000)
        let windowed = self.limits(.bytes(10_000), nil)
        #expect(windowed.advertised == 10_000 && windowed.largestWhole == 10_000)
        let budgeted = self.limits(.messages(10), .bytes(9_000), largest: 5_000)
        #expect(budgeted.advertised == 5_000 && budgeted.largestWhole == 5_000)
    }

    @Test func aStreamMayExceedTheLargestWholeMessage() {
        let free = self.limits(.bytes(10_000), nil, streams: true)
        #expect(free.advertised == nil && free.maxMessageSize == .max && free.largestWhole == 10_000)
        let sized = self.limits(.bytes(10_000), .bytes(50_000), streams: true)
        #expect(sized.advertised == 50_000 && sized.maxMessageSize == 50_000 && sized.largestWhole == 10_000)
    }
}
