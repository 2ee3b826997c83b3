// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// Decisions on their way to the socket, and decisions of ended receivers.
@Suite struct DecisionWritesTests {
    private static let lost = AMQPError(scope: .connection, condition: .connectionLost)
    private let keeper = LogLines()
    private let key = SlotKey(bitPattern: 1)

    /// Returns an ended receiver whose messages 1 and 2 are undecided.
    private func unsent(untold: [SlotKey] = []) -> UnsentSettlements {
        let unsent = UnsentSettlements(metadata: [:], logger: self.keeper.logger)
        unsent.end(
            Self.lost,
            undecided: [SlotKey(bitPattern: 1): 1, SlotKey(bitPattern: 2): 2],
            unsent: 0,
            untold: untold,
            unconfirmed: [],
            inDoubt: .forGood(0),
            untaken: 0
        )
        return unsent
    }

    /// Returns the write numbers after `issued` writes, of which `done` have completed.
    private func writes(issued: Int, done: Int) -> WriteNumbers {
        var writes = WriteNumbers()
        for _ in 0..<issued { writes.issue() }
        writes.end(done, isDone: true)
        return writes
    }

    private func settlement(_ slot: UInt, of receiver: SlotKey) -> Settlement {
        Settlement(
            receiver: receiver,
            slot: SlotKey(bitPattern: slot),
            sequence: UInt64(slot),
            outcome: .accepted,
            includesEarlier: false
        )
    }

    @Test func aDecisionIsReportedSettledWhenItsWriteCompletes() {
        var decisions = DecisionWrites()
        let replies = (0..<3).map { _ in Reply<AMQPSettlementResult>() }
        let writes = self.writes(issued: 3, done: 1)
        for (write, reply) in zip(1...3, replies) {
            decisions.answer([reply], afterWrite: write, writes, gone: nil)
        }
        #expect(replies.map { $0.answer == .success(.settled) } == [true, false, false])
        decisions.finish(2)
        #expect(replies.map { $0.answer == .success(.settled) } == [true, true, false])
        // The socket may still accept a pending write.
        decisions.fail(Self.lost, writes)
        #expect(replies[2].answer == nil)
        decisions.fail(Self.lost, self.writes(issued: 3, done: 3))
        #expect(replies[2].answer == .success(.inDoubt(Self.lost)))
    }

    @Test func noWriteFollowsAfterTheEnd() {
        var decisions = DecisionWrites()
        let replies = (0..<2).map { _ in Reply<AMQPSettlementResult>() }
        decisions.answer([replies[0]], afterWrite: 3, self.writes(issued: 2, done: 1), gone: Self.lost)
        #expect(replies[0].answer == nil)
        decisions.answer([replies[1]], afterWrite: 3, self.writes(issued: 2, done: 2), gone: Self.lost)
        #expect(replies[1].answer == .success(.inDoubt(Self.lost)))
    }

    @Test func lateDecisionsCountForTheirReceiver() {
        var decisions = DecisionWrites()
        let (one, other) = (self.unsent(), self.unsent())
        let otherKey = SlotKey(bitPattern: 2)
        decisions.add(self.key, one, UnwrittenCounts(), isDecided: false)
        decisions.add(otherKey, other, UnwrittenCounts(), isDecided: true)
        decisions.settle([
            self.settlement(1, of: self.key), self.settlement(2, of: self.key), self.settlement(1, of: otherKey),
            self.settlement(1, of: SlotKey(bitPattern: 3)),
        ])
        #expect(one.count == 2 && other.count == 0)
    }

    @Test func lostDecisionsAreReportedWhenThatIsCertain() {
        var decisions = DecisionWrites()
        var writes = self.writes(issued: 1, done: 1)
        var counts = UnwrittenCounts()
        counts.add(3, writes)
        writes.issue()
        let unsent = self.unsent()
        decisions.add(self.key, unsent, counts, isDecided: true)
        #expect(decisions.unwritten(of: unsent, writes) == 3 && decisions.unwritten(of: self.unsent(), writes) == 0)
        // The socket may still accept the write, even on a dead connection.
        decisions.report(writes, isDead: true)
        decisions.report(writes, isDead: false)
        #expect(unsent.count == 0)
        writes.end(1, isDone: false)
        decisions.report(writes, isDead: true)
        #expect(unsent.count == 3 && decisions.unwritten(of: unsent, writes) == 0)
        decisions.report(writes, isDead: true)
        #expect(unsent.count == 3)
    }

    @Test func writtenDecisionsAreNotLost() {
        var decisions = DecisionWrites()
        var writes = WriteNumbers()
        var counts = UnwrittenCounts()
        counts.add(3, writes)
        writes.issue()
        let unsent = self.unsent()
        decisions.add(self.key, unsent, counts, isDecided: true)
        writes.end(1, isDone: true)
        decisions.report(writes, isDead: false)
        #expect(unsent.count == 0 && unsent.result(of: self.key) == .settled)
    }

    @Test func aDecisionOfAnEndedReceiverIsAnsweredWithItsWrite() {
        var decisions = DecisionWrites()
        var writes = WriteNumbers()
        var counts = UnwrittenCounts()
        counts.add(1, writes)
        writes.issue()
        let untold = SlotKey(bitPattern: 8)
        let unsent = self.unsent(untold: [untold])
        decisions.add(self.key, unsent, counts, isDecided: true)
        let replies = (0..<2).map { _ in Reply<AMQPSettlementResult>() }
        decisions.answer(replies[0], of: untold, unsent, writes, gone: nil)
        decisions.answer(replies[1], of: SlotKey(bitPattern: 9), unsent, writes, gone: nil)
        #expect(replies[0].answer == .success(.notWritten(Self.lost)) && replies[1].answer == nil)
        decisions.finish(1)
        #expect(replies[1].answer == .success(.settled))
    }
}
