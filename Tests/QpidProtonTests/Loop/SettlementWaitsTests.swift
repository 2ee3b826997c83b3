// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// Tasks that wait for a settlement, by delivery, and tasks that wait for a write, in the order of the writes.
@Suite struct SettlementWaitsTests {
    private typealias Answer = Reply<AMQPSettlementResult>
    private let replies = (0..<4).map { _ in Answer() }

    /// The answers so far.
    private var answers: [AMQPSettlementResult?] { self.replies.map { try? $0.answer?.get() } }

    @Test func allWaitsOfOneDeliveryAreRemovedTogether() {
        var waits = SettlementWaits()
        #expect(waits.isEmpty && waits.take(5).isEmpty)
        waits.add(5, self.replies[0])
        waits.add(6, self.replies[1])
        waits.add(5, self.replies[2])
        #expect(waits.take(5).map(ObjectIdentifier.init) == [0, 2].map { ObjectIdentifier(self.replies[$0]) })
        #expect(waits.take(5).isEmpty && !waits.isEmpty)
        #expect(waits.take(6).count == 1 && waits.isEmpty)
    }

    @Test func aWriteAnswersItsOwnAndEarlierWaits() {
        var waits = WriteWaits()
        for (write, reply) in zip([3, 5, 5, 4], self.replies) { waits.add(write, reply) }
        waits.finish(2)
        #expect(self.answers == [nil, nil, nil, nil])
        waits.finish(4)
        #expect(self.answers == [.settled, nil, nil, .settled])
        waits.finish(9)
        #expect(self.answers == [.settled, .settled, .settled, .settled] && waits.isEmpty)
    }

    @Test func aFailureLeavesTheRestInDoubt() {
        let lost = AMQPError(scope: .connection, condition: .connectionLost)
        var waits = WriteWaits()
        for (write, reply) in zip([1, 2, 3, 9], self.replies) { waits.add(write, reply) }
        waits.finish(2)
        waits.fail(lost)
        #expect(self.answers == [.settled, .settled, .inDoubt(lost), .inDoubt(lost)] && waits.isEmpty)
    }
}
