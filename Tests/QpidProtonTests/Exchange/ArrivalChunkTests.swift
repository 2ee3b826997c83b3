// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// Messages that arrived together, stored as plain memory.
@Suite struct ArrivalChunkTests {
    /// Messages of 3, 0 and 2 bytes with tags of 1, 2 and 0 bytes. The second message is large, so its bytes are stored
    /// elsewhere.
    private static let bytes: [UInt8] = [0xA1, 1, 2, 3, 0xB1, 0xB2, 4, 5]
    private static let records = [
        ArrivalChunk.Record(
            offset: 0,
            tagCount: 1,
            isLarge: false,
            count: 3,
            slot: 1,
            sequence: 10,
            sums: .init(weight: 3, reported: 1, large: 0)
        ),
        ArrivalChunk.Record(
            offset: 4,
            tagCount: 2,
            isLarge: true,
            count: 9_000,
            slot: 0,
            sequence: 11,
            sums: .init(weight: 9_003, reported: 1, large: 1)
        ),
        ArrivalChunk.Record(
            offset: 6,
            tagCount: 0,
            isLarge: false,
            count: 2,
            slot: 3,
            sequence: 12,
            sums: .init(weight: 9_005, reported: 2, large: 1)
        ),
    ]

    private static func copied() -> ArrivalChunk {
        self.bytes.withUnsafeBytes { bytes in
            self.records.withUnsafeBufferPointer { ArrivalChunk(copying: bytes, $0) }
        }
    }

    private static func takenOver() -> ArrivalChunk {
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: self.bytes.count, alignment: 8)
        bytes.copyMemory(from: self.bytes, byteCount: self.bytes.count)
        let records = UnsafeMutablePointer<ArrivalChunk.Record>.allocate(capacity: 8)
        records.initialize(from: self.records, count: self.records.count)
        return ArrivalChunk(bytes: bytes, records: records, count: self.records.count)
    }

    @Test(arguments: [copied(), takenOver()])
    func everyMessageIsReadAsItWasWritten(_ chunk: ArrivalChunk) {
        #expect(chunk.count == 3)
        #expect((0..<3).map { chunk[$0].sequence } == [10, 11, 12])
        #expect((0..<3).map { Array(chunk.tagBytes(chunk[$0])) } == [[0xA1], [0xB1, 0xB2], []])
        #expect(chunk.payload(chunk[0]) == ByteBuffer(bytes: [1, 2, 3]))
        #expect(chunk.payload(chunk[2]) == ByteBuffer(bytes: [4, 5]))
        #expect(chunk.tag(chunk[1]).count == 2 && chunk.tag(chunk[1]).format == 0)
    }

    @Test func aPartHasItsOwnSums() {
        let chunk = Self.copied()
        #expect(chunk.sums(0..<3) == .init(weight: 9_005, reported: 2, large: 1))
        #expect(chunk.sums(0..<1) == .init(weight: 3, reported: 1, large: 0))
        #expect(chunk.sums(1..<2) == .init(weight: 9_000, reported: 0, large: 1))
        #expect(chunk.sums(1..<3) == .init(weight: 9_002, reported: 1, large: 1))
        #expect([0, 1, 3].map { chunk.sums($0..<$0) } == Array(repeating: ArrivalChunk.Sums(), count: 3))
    }

    @Test func aPayloadIsACopy() {
        var payload: ByteBuffer
        do {
            let chunk = Self.copied()
            payload = chunk.payload(chunk[0])
        }
        payload.setBytes([9], at: 0)
        #expect(payload == ByteBuffer(bytes: [9, 2, 3]))
    }

    @Test func anEmptyMessageHasAnEmptyPayload() {
        let record = ArrivalChunk.Record(
            offset: 8,
            tagCount: 0,
            isLarge: false,
            count: 0,
            slot: 1,
            sequence: 1,
            sums: .init()
        )
        #expect(Self.copied().payload(record).readableBytes == 0)
    }

    @Test func aLargeArrivalCountsUntilATaskReceivesIt() {
        #expect(LargeArrival.whole(ByteBuffer(repeating: 0, count: 70)).weight == 70)
        let status = LinkStatus(name: "l", key: LinkKey(session: SlotKey(bitPattern: 1), link: SlotKey(bitPattern: 1)))
        let stream = IncomingStream(of: status, sequence: 1, outbox: Outbox())
        stream.push(ByteBuffer(repeating: 0, count: 1_000))
        #expect(LargeArrival.streamed(ByteBuffer(repeating: 0, count: 30), stream).weight == 30)
    }
}
