// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// The records that closes collect, and the results that they return.
@Suite struct CloseReportTests {
    private static let lost = AMQPError(scope: .connection, condition: .connectionLost, detail: "gone")
    private let report = CloseReport()

    private func lane(_ number: UInt, _ reports: [CloseReport], _ unread: UnreadFailure? = nil) -> EndedLane {
        EndedLane(
            key: SlotKey(bitPattern: number),
            error: Self.lost.telling(.notSent),
            linkName: "l\(number)",
            address: "q",
            reports: reports,
            unread: unread
        )
    }

    private func receiver(undecided: Int, unsent: Int = 0) -> CloseReport.Receiver {
        let settlements = UnsentSettlements(metadata: [:], logger: LogLines().logger)
        let keys = (0..<undecided).map { (SlotKey(bitPattern: UInt($0 + 1)), UInt64($0)) }
        settlements.end(
            Self.lost,
            undecided: Dictionary(uniqueKeysWithValues: keys),
            unsent: unsent,
            untold: [],
            unconfirmed: [],
            inDoubt: .forGood(7),
            untaken: 0
        )
        return CloseReport.Receiver(linkName: "r", address: nil, settlements: settlements)
    }

    private func fail(_ lane: EndedLane, _ bytes: Int, stream: UInt32 = 0) {
        lane.fail(singleMessage(bytes, stream: stream), AMQPSendOptions())
    }

    @Test func aReportIsOpenUntilItsLastCloseEnds() {
        #expect(!self.report.isOpen)
        self.report.begin()
        self.report.begin()
        self.report.end()
        #expect(self.report.isOpen)
        self.report.end()
        #expect(!self.report.isOpen)
    }

    @Test func aLateMessageJoinsTheSenderOfItsLane() throws {
        self.report.add(AMQPUnfinished(linkName: "l1", address: "q"), lane: SlotKey(bitPattern: 1))
        let lanes = [self.lane(1, [self.report]), self.lane(2, [self.report])]
        self.fail(lanes[0], 10)
        self.fail(lanes[1], 20)
        self.fail(lanes[0], 30)
        let unfinished = self.report.result(nil) { _ in 0 }.unfinished
        #expect(unfinished.map(\.linkName) == ["l1", "l2"])
        #expect(unfinished.map { $0.notSent.map(\.payload.readableBytes) } == [[10, 30], [20]])
        let tracker = try #require(unfinished.first?.notSent.first?.tracker)
        #expect(tracker.result == .failure(Self.lost.telling(.notSent)))
    }

    /// The beginning of a streamed message is not a complete message that could be sent again.
    @Test func theBeginningOfAStreamedMessageIsNotListed() {
        self.fail(self.lane(1, [self.report]), 10, stream: 1)
        #expect(self.report.result(nil) { _ in 0 }.unfinished.isEmpty)
    }

    @Test func aMessageIsListedInEveryReportOrElseCounted() {
        let others = [CloseReport(), CloseReport()]
        self.fail(self.lane(1, others), 10)
        #expect(others.map { $0.result(nil) { _ in 0 }.notSent } == [1, 1])
        let unread = UnreadFailure(counts: [self.report.unread], isInDoubt: false)
        self.fail(self.lane(1, [], unread), 10)
        let result = self.report.result(nil) { _ in 0 }
        #expect(result.notSent == 0 && result.notSentBefore == 1 && !result.isComplete)
    }

    @Test func aReceiverIsListedOnceBehindTheSenders() {
        let receiver = self.receiver(undecided: 2)
        self.report.add(receiver)
        self.report.add(receiver)
        self.report.add(self.receiver(undecided: 3))
        self.fail(self.lane(1, [self.report]), 10)
        let unfinished = self.report.result(nil) { _ in 0 }.unfinished
        #expect(unfinished.map(\.linkName) == ["l1", "r", "r"])
        #expect(unfinished.map(\.deliveriesNotSettled) == [0, 2, 3])
    }

    @Test func decisionsOnTheirWayAreNotWrittenAndNoLongerInDoubt() throws {
        self.report.add(self.receiver(undecided: 0, unsent: 1))
        let result = self.report.result(Self.lost, isLate: true) { _ in 2 }
        #expect(result.settlementsNotWritten == 3 && result.settlementsInDoubt == 5)
        #expect(result.error == Self.lost && result.isLate)
    }

    @Test func linksWithoutUnfinishedWorkAreLeftOut() {
        self.report.add(AMQPUnfinished(linkName: "l", address: nil), lane: SlotKey(bitPattern: 1))
        // A failure that was read before it was counted does not make the number negative.
        self.report.unread.notSent.subtract(1, ordering: .relaxed)
        let result = self.report.result(nil) { _ in 0 }
        #expect(result.isComplete && result.notSentBefore == 0 && result.inDoubtBefore == 0)
    }
}
