// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The fate of a consumer's messages, event by event.
struct ConsumerStateTests {
    private typealias Arrival = ConsumerState.Arrival

    private func state(_ change: (inout ConsumerState.Limits) -> Void = { _ in }) -> ConsumerState {
        var limits = ConsumerState.Limits(concurrency: 2, attempts: 3, prefetch: .messages(0))
        change(&limits)
        return ConsumerState(limits)
    }

    @Test func aReturnAccepts() {
        var state = self.state()
        #expect(state.handle(.arrived(Arrival(id: 1)), at: .zero).contains(.run(1, attempt: 1)))
        #expect(state.handle(.returned(1), at: .zero).starts(with: [.settle(1, .accept), .forget(1)]))
        #expect(state.handle(.returned(1), at: .zero) == [] && state.heldCount == 0)
    }

    @Test(arguments: [(1, ConsumerState.Decision.fail), (2, .fail), (3, .reject), (4, .reject)])
    func anErrorReturnsTheMessageAndTheLastAttemptRejectsIt(_ attempt: Int, _ decision: ConsumerState.Decision) {
        var state = self.state()
        _ = state.handle(.arrived(Arrival(id: 1, attempt: attempt)), at: .zero)
        #expect(state.handle(.threw(1), at: .zero).starts(with: [.settle(1, decision), .forget(1)]))
        #expect(state.counts.threw == 1)
    }

    @Test func withoutALimitNoMessageIsRejected() {
        var state = self.state { $0.attempts = nil }
        _ = state.handle(.arrived(Arrival(id: 1, attempt: 1_000)), at: .zero)
        #expect(state.handle(.threw(1), at: .zero).first == .settle(1, .fail))
    }

    @Test func aMessageThatStaysIsHandledAgainAfterGrowingDelays() {
        var state = self.state()
        _ = state.handle(.arrived(Arrival(id: 1, staysHere: true)), at: .zero)
        #expect(state.handle(.threw(1), at: .zero) == [.delay(1, .milliseconds(100))])
        #expect(state.busy == 1 && state.handle(.returned(1), at: .zero) == [])
        #expect(state.handle(.due(1), at: .zero) == [.run(1, attempt: 2)])
        #expect(state.handle(.threw(1), at: .zero) == [.delay(1, .milliseconds(200))])
        #expect(state.handle(.due(1), at: .zero) == [.run(1, attempt: 3)])
        #expect(state.handle(.threw(1), at: .zero).starts(with: [.settle(1, .reject), .forget(1)]))
        #expect(state.counts == .init(handled: 3, retried: 2, threw: 3, timedOut: 0))
    }

    @Test func messagesOfOneKeyRunInSequence() {
        var state = self.state()
        #expect(
            state.handle(.arrived(Arrival(id: 1, lane: 7, staysHere: true)), at: .zero).contains(.run(1, attempt: 1))
        )
        for id: UInt64 in 2...3 {
            #expect(
                !state.handle(.arrived(Arrival(id: id, lane: 7, staysHere: true)), at: .zero).contains(
                    .run(id, attempt: 1)
                )
            )
        }
        #expect(state.hasRoom && state.blocked == 2)
        // A message of another key runs meanwhile, even while the first one waits for its next attempt.
        _ = state.handle(.threw(1), at: .zero)
        #expect(state.handle(.arrived(Arrival(id: 4, lane: 8)), at: .zero).contains(.run(4, attempt: 1)))
        #expect(!state.hasRoom)
        _ = state.handle(.due(1), at: .zero)
        #expect(state.handle(.returned(1), at: .zero).contains(.run(2, attempt: 1)))
        #expect(state.handle(.returned(2), at: .zero).contains(.run(3, attempt: 1)) && state.blocked == 0)
    }

    @Test func aTimeoutFailsAtOnceButHoldsItsPlaceUntilTheHandlerReturns() {
        var state = self.state()
        _ = state.handle(.arrived(Arrival(id: 1)), at: .zero)
        #expect(state.handle(.overran(1, attempt: 2), at: .zero) == [])
        #expect(state.handle(.overran(1, attempt: 1), at: .zero) == [.settle(1, .fail), .cancel(1)])
        #expect(state.busy == 1 && state.counts.timedOut == 1)
        #expect(state.handle(.decided(1, attempt: 1), at: .zero) == [])
        #expect(state.handle(.returned(1), at: .zero).first == .forget(1))
        #expect(state.busy == 0)
    }

    @Test func aTimeoutOfAMessageThatStaysWaitsForTheHandler() {
        var state = self.state()
        _ = state.handle(.arrived(Arrival(id: 1, attempt: 2, staysHere: true)), at: .zero)
        #expect(state.handle(.overran(1, attempt: 2), at: .zero) == [.cancel(1)])
        #expect(state.handle(.returned(1), at: .zero) == [.delay(1, .milliseconds(100))])
        _ = state.handle(.due(1), at: .zero)
        #expect(state.handle(.overran(1, attempt: 3), at: .zero) == [.settle(1, .reject), .cancel(1)])
        #expect(state.handle(.threw(1), at: .zero).first == .forget(1))
        #expect(state.counts == .init(handled: 2, retried: 1, threw: 0, timedOut: 2))
    }

    @Test func theApplicationHasTheLastWord() {
        var state = self.state()
        for (id, end) in [(1, ConsumerState.Event.returned(1)), (2, .threw(2))] as [(UInt64, ConsumerState.Event)] {
            _ = state.handle(.arrived(Arrival(id: id)), at: .zero)
            #expect(state.handle(.decided(id, attempt: 2), at: .zero) == [])
            #expect(state.handle(.decided(id, attempt: 1), at: .zero) == [.settle(id, .application)])
            #expect(state.handle(.decided(id, attempt: 1), at: .zero) == [])
            // The handler of a decided message may still hang.
            #expect(state.handle(.overran(id, attempt: 1), at: .zero) == [.cancel(id)])
            #expect(state.handle(end, at: .zero).first == .forget(id))
        }
        #expect(state.counts.timedOut == 0)
    }

    @Test func aStopReturnsWaitingMessagesAndLetsHandlersFinish() {
        var state = self.state()
        _ = state.handle(.arrived(Arrival(id: 1, lane: 7, staysHere: true)), at: .zero)
        _ = state.handle(.arrived(Arrival(id: 2, lane: 7, staysHere: true)), at: .zero)
        _ = state.handle(.arrived(Arrival(id: 3, lane: 8, staysHere: true)), at: .zero)
        _ = state.handle(.threw(3), at: .zero)
        #expect(
            state.handle(.stop, at: .zero)
                == [.settle(2, .release), .forget(2), .cancel(3), .settle(3, .fail), .forget(3)]
        )
        #expect(state.handle(.arrived(Arrival(id: 4)), at: .zero) == [.settle(4, .release), .forget(4)])
        #expect(!state.hasRoom && state.handle(.stop, at: .zero) == [])
        #expect(state.handle(.returned(1), at: .zero) == [.settle(1, .accept), .forget(1), .idle])
    }

    @Test func anErrorAtTheEndOfTheTimeIsNoFailure() {
        var state = self.state { $0.concurrency = 3 }
        for id: UInt64 in 1...3 { _ = state.handle(.arrived(Arrival(id: id)), at: .zero) }
        #expect(state.handle(.hurry, at: .zero) == [.cancel(1), .cancel(2), .cancel(3)])
        #expect(state.handle(.threw(1), at: .zero) == [.settle(1, .release), .forget(1)])
        #expect(state.handle(.returned(2), at: .zero) == [.settle(2, .accept), .forget(2)])
        #expect(state.handle(.expire, at: .zero) == [.settle(3, .release), .idle])
        #expect(state.handle(.returned(3), at: .zero) == [.forget(3)])
        #expect(state.counts.threw == 0)
    }

    @Test func anIdleConsumerStopsAtOnce() {
        var state = self.state()
        #expect(state.handle(.stop, at: .zero) == [.idle])
    }

    // MARK: Credit

    @Test func theFirstCreditIsThatOfTheHandlers() {
        var state = self.state { limits in
            limits.concurrency = 16
            limits.prefetch = .automatic
        }
        #expect(state.open() == [.grant(16)])
    }

    @Test func slowHandlersFetchNothingAhead() {
        var state = self.state { limits in
            limits.concurrency = 4
            limits.prefetch = .automatic
        }
        _ = state.open()
        var now = Duration.zero
        for id: UInt64 in 1...40 {
            _ = state.handle(.arrived(Arrival(id: id)), at: now)
            now += .seconds(2)
            _ = state.handle(.returned(id), at: now)
            #expect(state.credit + state.busy <= 4)
        }
    }

    @Test(arguments: [(10, 40), (1, 256), (1_000, 0)])
    func fastHandlersPrefetchATenthOfASecondOfMessages(_ milliseconds: Int, _ ahead: Int) {
        var state = self.state { limits in
            limits.concurrency = 4
            limits.prefetch = .automatic
        }
        _ = state.open()
        var now = Duration.zero
        for id: UInt64 in 1...200 {
            _ = state.handle(.arrived(Arrival(id: id)), at: now)
            now += .milliseconds(milliseconds)
            _ = state.handle(.returned(id), at: now)
        }
        #expect(state.credit <= 4 + ahead && state.credit > (4 + ahead) * 3 / 4 - 1, "\(state.credit)")
    }

    @Test func creditIsGrantedByTheQuarter() {
        var state = self.state { $0.prefetch = .messages(6) }
        #expect(state.open() == [.grant(8)])
        _ = state.handle(.arrived(Arrival(id: 1)), at: .zero)
        #expect(!state.handle(.returned(1), at: .zero).contains(.grant(1)))
        _ = state.handle(.arrived(Arrival(id: 2)), at: .zero)
        #expect(state.handle(.returned(2), at: .zero).contains(.grant(2)))
    }

    @Test func messagesThatWaitForTheirKeysTakeNoCredit() {
        var state = self.state { $0.backlog = 3 }
        #expect(state.open() == [.grant(2)])
        var granted = 2
        for id: UInt64 in 1...10 where state.hasRoom {
            for case .grant(let credit) in state.handle(.arrived(Arrival(id: id, lane: 1)), at: .zero) {
                granted += credit
            }
        }
        // One message is handled and three wait. The consumer accepts no other message, although it has credit for one.
        #expect(state.heldCount == 4 && !state.hasRoom && granted == 5)
    }

    // MARK: Memory of attempts

    @Test func attemptsAreRememberedOnceEach() {
        var memory = AttemptMemory(limit: 10)
        memory.note(1, attempts: 2)
        memory.note(1, attempts: 1)
        #expect(memory.take(2) == 0)
        #expect(memory.take(1) == 1 && memory.take(1) == 2 && memory.take(1) == 0)
        #expect(memory.isEmpty && memory.count == 0)
    }

    @Test func theOldestAttemptsAreForgotten() {
        var memory = AttemptMemory(limit: 100)
        for hash in 0..<10_000 {
            memory.note(hash, attempts: 1)
            #expect(memory.count <= 100)
        }
        #expect(memory.take(9_899) == 0 && memory.take(9_900) == 1 && memory.take(9_999) == 1)
        var none = AttemptMemory(limit: 0)
        none.note(1, attempts: 1)
        #expect(none.take(1) == 0)
    }

    // MARK: Results

    @Test func theResultPrintsAsOneLine() {
        var result = AMQPConsumerResult()
        #expect("\(result)" == "0 messages; 0 calls")
        result.received = 5
        result.accepted = 3
        result.stale = 2
        result.handled = 1
        result.timedOut = 1
        result.dropped = 4
        #expect("\(result)" == "5 messages: 3 accepted, 2 stale; 1 call: 1 timed out; 4 dropped")
    }
}
