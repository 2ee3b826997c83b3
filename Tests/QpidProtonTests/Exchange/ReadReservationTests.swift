// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The room for the next read of one socket.
@Suite struct ReadReservationTests {
    private let budget = AMQPMemoryBudget(limit: 80_000, low: 70_000)

    @Test func aReadReservesTheAvailableRoom() {
        let permit = ReadReservation(self.budget, isTLS: false)
        self.budget.reserve(70_000)
        #expect(permit.take(4_000) == 4_000)
        #expect(self.budget.used == 74_000)
        // The next reservation replaces the last one.
        #expect(permit.take(50_000) == 10_000)
        #expect(self.budget.used == 80_000)
        #expect(permit.end(leaving: 0) == 10_000)
        #expect(permit.end(leaving: 0) == 0)
    }

    @Test func aReadWithoutRoomIsOfTheMarginAlone() {
        let permit = ReadReservation(self.budget, isTLS: false)
        self.budget.reserve(80_000 - AMQPMemoryBudget.leastRead + 1)
        #expect(permit.take(50_000) == AMQPMemoryBudget.margin)
        #expect(permit.end(leaving: 0) == AMQPMemoryBudget.margin)
        self.budget.release(AMQPMemoryBudget.margin + 1)
        #expect(permit.take(50_000) == AMQPMemoryBudget.leastRead)
    }

    /// The bytes of a frame are counted when it is complete, and the next read may complete it.
    @Test func anIncompleteFrameNeedsRoomBesideTheRead() {
        let permit = ReadReservation(self.budget, isTLS: false)
        self.budget.reserve(70_000)
        #expect(permit.end(leaving: 1_000) == 0)
        // The bytes of the incomplete frame lie outside the budget, and its last bytes may arrive in a read without
        // room.
        #expect(permit.take(50_000) == 8_000)
        #expect(self.budget.used == 79_000)
        #expect(permit.end(leaving: 0) == 9_000)
    }

    @Test func theMarginIncludesTheFrameThatTheReadMayComplete() {
        let (plain, tls) = (ReadReservation(self.budget, isTLS: false), ReadReservation(self.budget, isTLS: true))
        #expect(plain.margin == 512 && tls.margin == 512 + 16_384)
        _ = plain.end(leaving: 300)
        _ = tls.end(leaving: 300)
        #expect(plain.margin == 812 && tls.margin == 812 + 16_384)
        _ = plain.end(leaving: 100)
        #expect(plain.margin == 612)
    }

    /// The budget keeps every reader's margin free: reads with room leave it untouched.
    @Test func theMarginOfOneIsNotRoomForAnother() {
        let permit = ReadReservation(self.budget, isTLS: false)
        self.budget.joinReaders(margin: permit.margin)
        _ = permit.end(leaving: 1_000)
        #expect(ReadReservation(self.budget, isTLS: false).take(.max) == 80_000 - 512 - 1_000)
    }

    @Test func aClosedReservationUsesNoRoom() {
        let permit = ReadReservation(self.budget, isTLS: true)
        #expect(permit.take(3_000) == 3_000)
        _ = permit.end(leaving: 100)
        #expect(permit.take(3_000) == 3_000)
        #expect(permit.close() == 3_100)
        let used = self.budget.used
        #expect(permit.take(3_000) == AMQPMemoryBudget.margin)
        #expect(self.budget.used == used && permit.close() == 0)
        #expect(permit.margin == 512 + 16_384)
    }

    /// A buffer is no larger than the room for its read, because the read may fill all of it.
    @Test func buffersAreNoLargerThanTheRoom() {
        let permit = ReadReservation(self.budget, isTLS: false)
        var reads = BoundedReads(permit)
        for _ in 0..<20 {
            let buffer = reads.buffer(allocator: ByteBufferAllocator())
            let isOtherSize = reads.record(actualReadBytes: buffer.capacity)
            #expect(isOtherSize)
        }
        #expect(reads.buffer(allocator: ByteBufferAllocator()).capacity == 65_536)
        self.budget.release(permit.end(leaving: 0))
        self.budget.reserve(77_000)
        #expect(reads.buffer(allocator: ByteBufferAllocator()).capacity == 2_048)
        self.budget.reserve(3_000)
        #expect(reads.buffer(allocator: ByteBufferAllocator()).capacity == 512)
    }
}
