// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The socket confirms writes in order. Each confirmation covers the message bytes of its write.
struct PendingWritesTests {
    private let node = SlotMap<Int>().nextKey

    private func message(_ bytes: Int) -> InFlightBytes { InFlightBytes(bytes: bytes, node: self.node, settled: nil) }

    private func messages(_ writes: inout PendingWrites, _ confirmed: PendingWrites.Confirmed) -> [Int] {
        var confirmed = confirmed
        var bytes: [Int] = []
        while let message = writes.next(of: &confirmed) { bytes.append(message.bytes) }
        return bytes
    }

    @Test func aPromiseConfirmsTheWritesBeforeIt() {
        var writes = PendingWrites()
        writes.add(self.message(1))
        writes.add(bytes: 10, isPromised: false)
        writes.add(self.message(2))
        writes.add(self.message(3))
        writes.add(bytes: 20, isPromised: false)
        #expect(writes.hasUnpromised && writes.promised == 0)
        // A mark is not a write.
        writes.add(bytes: 0, isPromised: true)
        writes.add(self.message(4))
        writes.add(bytes: 40, isPromised: true)
        #expect(!writes.hasUnpromised && writes.promised == 2)
        let first = writes.confirm()
        #expect(first.writes == 2 && first.bytes == 30)
        #expect(self.messages(&writes, first) == [1, 2, 3])
        let second = writes.confirm()
        #expect(second.writes == 1 && second.bytes == 40)
        #expect(self.messages(&writes, second) == [4])
        #expect(writes.isEmpty && writes.promised == 0)
    }

    @Test func allWritesWithoutPromisesAreConfirmedTogether() {
        var writes = PendingWrites()
        for size in 1...3 {
            writes.add(self.message(size))
            writes.add(bytes: 10 * size, isPromised: false)
        }
        let confirmed = writes.confirm()
        #expect(confirmed.writes == 3 && confirmed.bytes == 60)
        #expect(self.messages(&writes, confirmed) == [1, 2, 3])
        #expect(writes.isEmpty)
    }

    /// An abort lowers Proton's byte count, and may have no bytes of its own to write.
    @Test func emptyMarksLeaveWithTheLastWrite() {
        var writes = PendingWrites()
        writes.add(self.message(1))
        #expect(!writes.addToLast() && writes.hasNewMessages)
        #expect(self.messages(&writes, writes.confirmNew()) == [1])
        writes.add(self.message(2))
        writes.add(bytes: 10, isPromised: true)
        writes.add(self.message(3))
        #expect(writes.addToLast() && !writes.hasNewMessages)
        #expect(self.messages(&writes, writes.confirm()) == [2, 3])
    }
}
