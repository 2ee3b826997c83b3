// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A message with memory of its own.
enum LargeArrival: Sendable {
    case whole(ByteBuffer)
    /// The sections before the body, and the source of the rest.
    case streamed(ByteBuffer, IncomingStream)

    /// The bytes that are buffered until a task receives the message.
    var weight: Int {
        switch self {
        case .whole(let payload), .streamed(let payload, _): payload.readableBytes
        }
    }
}

/// Messages that arrived together, as plain memory. This avoids an allocation for each message on one thread and its
/// release on another.
///
/// The chunk stores small messages. Each larger message has its own buffer. A task copies a message out of the chunk,
/// so the chunk lives only while it has waiting messages. ``Arrivals`` creates the chunks.
// Sendable: neither the chunk nor its memory changes after its creation.
final class ArrivalChunk: @unchecked Sendable {
    /// The largest message in a chunk, in bytes.
    static let smallLimit = 4_096
    /// The most bytes of a chunk.
    static let limit = 65_536

    /// The contents in numbers: the bytes, the messages whose receipt is reported, and the large messages.
    struct Sums: Equatable {
        var weight = 0
        var reported = 0
        var large = 0
    }

    /// The place and the figures of a message.
    struct Record {
        /// The start of the tag, which the payload of a small message follows.
        let offset: UInt32
        let tagCount: UInt8
        let isLarge: Bool
        let count: Int
        /// The bits of the delivery's key; 0 for a settled delivery.
        let slot: UInt
        let sequence: UInt64
        /// The contents from the start of the chunk to the end of this message.
        let sums: Sums
    }

    private let bytes: UnsafeMutableRawPointer
    private let records: UnsafeMutablePointer<Record>
    let count: Int

    /// Whether the bytes follow the records in one piece of memory.
    private let isOnePiece: Bool

    /// Adopts allocated memory.
    init(bytes: UnsafeMutableRawPointer, records: UnsafeMutablePointer<Record>, count: Int) {
        self.bytes = bytes
        self.records = records
        self.count = count
        self.isOnePiece = false
    }

    /// Copies bytes and records.
    init(copying bytes: UnsafeRawBufferPointer, _ records: UnsafeBufferPointer<Record>) {
        let size = records.count * MemoryLayout<Record>.stride
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: size + bytes.count,
            alignment: MemoryLayout<Record>.alignment
        )
        self.records = memory.bindMemory(to: Record.self, capacity: records.count)
        if let base = records.baseAddress { self.records.initialize(from: base, count: records.count) }
        self.bytes = memory + size
        if let base = bytes.baseAddress { self.bytes.copyMemory(from: base, byteCount: bytes.count) }
        self.count = records.count
        self.isOnePiece = true
    }

    deinit {
        self.records.deallocate()
        if !self.isOnePiece { self.bytes.deallocate() }
    }

    subscript(index: Int) -> Record {
        precondition(index >= 0 && index < self.count)
        return self.records[index]
    }

    /// Returns the contents of a part, in numbers.
    func sums(_ range: Range<Int>) -> Sums {
        var sums = self.sums(before: range.upperBound)
        let start = self.sums(before: range.lowerBound)
        sums.weight -= start.weight
        sums.reported -= start.reported
        sums.large -= start.large
        return sums
    }

    private func sums(before index: Int) -> Sums { index == 0 ? Sums() : self[index - 1].sums }

    func tag(_ record: Record) -> StoredTag { StoredTag(self.tagBytes(record)) }

    /// Returns the stored tag, which is marked if the message has a format other than 0.
    func tagBytes(_ record: Record) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: self.bytes + Int(record.offset), count: Int(record.tagCount))
    }

    /// Copies a small message into a buffer of its own.
    func payload(_ record: Record) -> ByteBuffer {
        guard record.count > 0 else { return ByteBuffer() }
        var payload = ByteBufferAllocator().buffer(capacity: record.count)
        payload.writeWithUnsafeMutableBytes(minimumWritableBytes: record.count) { room in
            let start = self.bytes + Int(record.offset) + Int(record.tagCount)
            room.copyMemory(from: UnsafeRawBufferPointer(start: start, count: record.count))
            return record.count
        }
        return payload
    }
}
