// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// The unwritten decisions about one receiver's messages, each counted once.
@Suite struct UnsentSettlementsTests {
    private static let cause = AMQPError(scope: .link, condition: .closed, detail: "ended")
    private let keeper = LogLines()
    private let losses = Losses()
    private let unsent: UnsentSettlements

    private final class Losses: Sendable {
        let all = Mutex<[Int]>([])
        var list: [Int] { self.all.withLock { $0 } }
    }

    init() {
        self.unsent = UnsentSettlements(metadata: [:], logger: self.keeper.logger) { [losses] lost in
            losses.all.withLock { $0.append(lost) }
        }
    }

    private func key(_ number: UInt64) -> SlotKey { SlotKey(bitPattern: UInt(number)) }

    /// Ends the link with undecided messages 1 to `undecided`. The key of each message is its sequence.
    private func end(
        undecided: UInt64 = 0,
        unsent: Int = 0,
        untold: [UInt64] = [],
        unconfirmed: [UInt64] = [],
        inDoubt: UnsentSettlements.InDoubt = .forGood(0),
        untaken: Int = 0
    ) {
        let messages = (0..<undecided).map { (self.key($0 + 1), $0 + 1) }
        self.unsent.end(
            Self.cause,
            undecided: Dictionary(uniqueKeysWithValues: messages),
            unsent: unsent,
            untold: untold.map(self.key),
            unconfirmed: unconfirmed.map(self.key),
            inDoubt: inDoubt,
            untaken: untaken
        )
    }

    private func settle(_ number: UInt64, earlier: Bool = false) {
        let settlement = Settlement(
            receiver: self.key(1),
            slot: self.key(number),
            sequence: number,
            outcome: .accepted,
            includesEarlier: earlier
        )
        self.unsent.add(CollectionOfOne(settlement))
    }

    private func rest(isAnswered: Bool = false, unwritten: Int = 0) -> [Int] {
        let rest = self.unsent.rest(isAnswered: isAnswered, unwritten: unwritten)
        return [rest.notWritten, rest.inDoubt, rest.undecided]
    }

    @Test func aMessageIsCountedOnceHoweverOftenItIsDecided() {
        self.end(undecided: 3)
        for _ in 0..<2 { self.settle(2) }
        #expect(self.unsent.count == 1 && self.losses.list == [1])
        // A message that was decided before the end is not among the undecided ones.
        self.settle(9)
        #expect(self.unsent.count == 1 && self.rest() == [1, 0, 2])
    }

    @Test func aDecisionAboutEarlierMessagesCountsEachOfThem() {
        self.end(undecided: 5)
        self.settle(2)
        self.settle(4, earlier: true)
        #expect(self.unsent.count == 4 && self.losses.list == [1, 3])
        #expect(self.rest() == [4, 0, 1])
    }

    @Test func theNumberOfUnsentDecisionsIsLoggedOnceWhenItIsFinal() {
        self.end(undecided: 2, unsent: 2)
        #expect(self.unsent.hasEnded && self.losses.list == [2])
        self.settle(1)
        #expect(self.keeper.lines(with: "decisions about messages were not sent").isEmpty)
        self.unsent.complete(adding: 4)
        self.settle(2)
        let lines = self.keeper.lines(with: "decisions about messages were not sent")
        #expect(lines.count == 1 && lines.first?.contains("\"amqp.messages\": 7") == true, "\(lines)")
        #expect(self.losses.list == [2, 1, 4, 1])
    }

    @Test func nothingIsLoggedWhereNothingIsLost() {
        self.end(undecided: 1)
        self.unsent.complete(adding: 0)
        #expect(self.keeper.text.isEmpty && self.losses.list.isEmpty)
        self.settle(1)
        #expect(self.keeper.lines(with: "decisions about messages were not sent").count == 1)
    }

    @Test func anAnswerProvesThatEarlierDecisionsWereRead() {
        self.end(inDoubt: .untilAnswer(5, isAnswerable: true))
        #expect(self.rest() == [0, 5, 0])
        #expect(self.rest(unwritten: 2) == [2, 3, 0])
        #expect(self.rest(isAnswered: true) == [0, 0, 0])
        self.end(inDoubt: .untilAnswer(5, isAnswerable: false))
        #expect(self.rest(isAnswered: true) == [0, 5, 0])
        self.end(inDoubt: .forGood(5))
        #expect(self.rest(isAnswered: true) == [0, 5, 0])
        #expect(self.rest(unwritten: 9) == [9, 0, 0])
        // From here on the lost decisions are counted.
        self.unsent.complete(adding: 3)
        #expect(self.rest(unwritten: 9) == [3, 2, 0])
    }

    @Test func messagesThatNoTaskHasReceivedAreNotCounted() {
        self.end(undecided: 5, untaken: 2)
        #expect(self.rest() == [0, 0, 3])
        self.settle(5, earlier: true)
        #expect(self.rest() == [5, 0, 0])
    }

    @Test func theResultOfAMessageIsCertainOnlyWhenAllWritesAreDone() {
        self.end(untold: [1], unconfirmed: [2])
        #expect([1, 2, 3].map { self.unsent.wasTold(self.key($0)) } == [false, false, true])
        #expect(self.unsent.result(of: self.key(1)) == .notWritten(Self.cause))
        #expect(self.unsent.result(of: self.key(3)) == .inDoubt(Self.cause))
        self.unsent.complete(adding: 0)
        #expect(self.unsent.result(of: self.key(3)) == .settled)
        #expect(self.unsent.result(of: self.key(2)) == .inDoubt(Self.cause))
        self.unsent.complete(adding: 1)
        #expect(self.unsent.result(of: self.key(3)) == .inDoubt(Self.cause))
    }

    @Test func endedReceiversAreForgottenWithTheirDeliveries() {
        var receivers = EndedReceivers()
        receivers.add(self.key(1), self.unsent)
        // Receivers without a reference make room for new ones.
        for number in 2...1_000 as ClosedRange<UInt64> {
            receivers.add(self.key(number), UnsentSettlements(metadata: [:], logger: self.keeper.logger))
            #expect(receivers[self.key(number)] == nil)
        }
        #expect(receivers[self.key(1)] === self.unsent && receivers[self.key(5_000)] == nil)
    }
}
