// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The offset at which a receiver resumes a stream.
struct StreamPlaceTests {
    private var place = StreamPlace()

    private mutating func take(_ offsets: ClosedRange<UInt64>, isSettled: Bool = false) {
        for offset in offsets { self.place.take(offset - 100, offset: offset, isSettled: isSettled) }
    }

    @Test func withoutAMessageThereIsNoOffset() {
        #expect(self.place.next == nil)
    }

    @Test mutating func aReceiverResumesAfterTheSettledMessages() {
        self.take(101...105)
        for sequence in UInt64(1)...3 { self.place.settle(sequence, includesEarlier: false) }
        #expect(self.place.next == 104)
        self.place.settle(5, includesEarlier: false)
        // Offset 104 is not settled, so 104 and 105 are read again.
        #expect(self.place.next == 104)
        self.place.settle(4, includesEarlier: false)
        #expect(self.place.next == 106)
    }

    @Test mutating func aDecisionCanIncludeEarlierMessages() {
        self.take(101...105)
        self.place.settle(4, includesEarlier: true)
        #expect(self.place.next == 105)
    }

    @Test mutating func aLossKeepsTheOffset() {
        self.take(101...105)
        self.place.settle(1, includesEarlier: false)
        self.place.lose()
        #expect(self.place.next == 102)
        // The next link numbers its messages from 0 again.
        self.place.settle(2, includesEarlier: false)
        self.place.take(1, offset: 102, isSettled: false)
        #expect(self.place.next == 102)
        self.place.settle(1, includesEarlier: false)
        #expect(self.place.next == 103)
    }

    @Test mutating func settledMessagesAdvanceTheOffsetOnReceipt() {
        self.take(101...103, isSettled: true)
        #expect(self.place.next == 104)
        self.place.take(9, offset: .max, isSettled: true)
        #expect(self.place.next == .max)
    }
}
