// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// Received messages until a task reads them: their order, their chunks, and the messages that remain when a link ends.
@Suite struct ArrivalsTests {
    private let arrivals = Arrivals()

    /// Adds a message. Its number is its sequence, the value of its bytes and, if it is unsettled, its key.
    private func add(_ number: Int, _ size: Int, isSettled: Bool = false, isReported: Bool = false) {
        let tag = Array("\(number)".utf8)
        let bytes = ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: size)
        let slot = isSettled ? 0 : UInt(number)
        let isLarge = size > ArrivalChunk.smallLimit
        let (count, room) = tag.withUnsafeBytes {
            self.arrivals.place($0, before: isLarge ? 0 : size, keepsMark: false)
        }
        let sequence = UInt64(number)
        if isLarge {
            return self.arrivals.append(
                large: .whole(bytes),
                tagCount: count,
                slot: slot,
                sequence: sequence,
                isReported: isReported
            )
        }
        bytes.withUnsafeReadableBytes {
            if let start = $0.baseAddress { room.copyMemory(from: start, byteCount: size) }
        }
        self.arrivals.append(tagCount: count, count: size, slot: slot, sequence: sequence, isReported: isReported)
    }

    private func records(_ batch: Arrivals.Batch) -> [(chunk: ArrivalChunk, record: ArrivalChunk.Record)] {
        batch.chunks.flatMap { chunk in (0..<chunk.count).map { (chunk, chunk[$0]) } }
    }

    private func sequences(_ batch: Arrivals.Batch) -> [UInt64] { self.records(batch).map(\.record.sequence) }

    @Test func isEmptyWithoutArrivalsAndAfterEachTake() {
        #expect(self.arrivals.isEmpty && self.arrivals.messages == 0 && self.arrivals.take().chunks.isEmpty)
        self.add(1, 0)
        #expect(!self.arrivals.isEmpty && self.arrivals.messages == 1)
        #expect(self.sequences(self.arrivals.take()) == [1])
        #expect(self.arrivals.isEmpty && self.arrivals.messages == 0 && self.arrivals.take().chunks.isEmpty)
        self.add(2, 10)
        #expect(self.sequences(self.arrivals.take()) == [2])
    }

    @Test func messagesOfFullChunksCountUntilATaskReceivesThem() {
        let size = ArrivalChunk.smallLimit
        for number in 1...100 { self.add(number, size) }
        #expect(self.arrivals.messages == 100)
        let batch = self.arrivals.take()
        #expect(self.sequences(batch) == Array(1...100) && batch.chunks.count >= 100 * size / ArrivalChunk.limit)
        for (chunk, record) in self.records(batch) {
            #expect(chunk.payload(record) == ByteBuffer(repeating: UInt8(record.sequence), count: size))
        }
    }

    @Test func aLargeMessageLiesBesideTheChunk() {
        self.add(1, 10)
        self.add(2, 5_000, isReported: true)
        self.add(3, 20)
        let batch = self.arrivals.take()
        #expect(batch.chunks.count == 1 && batch.large.map(\.weight) == [5_000])
        #expect(self.records(batch).map(\.record.isLarge) == [false, true, false])
        #expect(self.records(batch).map(\.record.count) == [10, 5_000, 20])
        #expect(batch.chunks.first?.sums(0..<3) == .init(weight: 5_030, reported: 1, large: 1))
    }

    @Test func aTagIsCutAtTheLimitAndAMarkedTagKeepsItsMark() {
        let marked = MarkedTag.bytes([7, 8], format: 0x0102_0304)
        for (keepsMark, count) in [(true, MarkedTag.count), (false, MarkedTag.longest)] {
            let placed = marked.withUnsafeBytes {
                self.arrivals.place($0, before: 1, keepsMark: keepsMark)
            }
            #expect(placed.count == count)
            placed.room.storeBytes(of: 0x42, as: UInt8.self)
            self.arrivals.append(tagCount: placed.count, count: 1, slot: 0, sequence: 0, isReported: false)
            let (chunk, record) = self.records(self.arrivals.take())[0]
            #expect(Array(chunk.tagBytes(record)) == Array(marked.prefix(count)))
            #expect(chunk.tag(record).format == (keepsMark ? 0x0102_0304 : 0))
            #expect(chunk.tag(record).count == (keepsMark ? 2 : 32))
            #expect(chunk.payload(record) == ByteBuffer(bytes: [0x42]))
        }
    }

    /// Tasks can still receive settled messages after their link has ended. The unsettled ones return to their source.
    @Test func settledMessagesStayInOrderAndUnsettledKeysAreReturned() {
        self.add(1, 10)
        self.add(2, 20, isSettled: true, isReported: true)
        self.add(3, 6_000)
        self.add(4, 7_000, isSettled: true)
        self.add(5, 0)
        self.add(6, 30)
        var batch = self.arrivals.take()
        // The delivery of message 6 has been settled in the meantime.
        let keys = batch.removeUnsettled { $0 != SlotKey(bitPattern: 6) }
        #expect(keys == [1, 3, 5].map { SlotKey(bitPattern: $0) })
        #expect(self.sequences(batch) == [2, 4, 6] && batch.large.map(\.weight) == [7_000])
        let kept = self.records(batch)
        #expect(kept[0].chunk.payload(kept[0].record) == ByteBuffer(repeating: 2, count: 20))
        #expect(kept[2].chunk.payload(kept[2].record) == ByteBuffer(repeating: 6, count: 30))
        #expect(kept.map { String(decoding: $0.chunk.tagBytes($0.record), as: UTF8.self) } == ["2", "4", "6"])
        #expect(batch.chunks.reduce(0) { $0 + $1.sums(0..<$1.count).reported } == 1)
        #expect(self.arrivals.isEmpty)
    }
}
