internal import NIOCore

/// A message that has memory of its own.
enum LargeArrival: Sendable {
    case whole(ByteBuffer)
    /// The sections before the body, and where the rest comes.
    case streamed(ByteBuffer, IncomingStream)

    /// The bytes that wait until the message is taken.
    var weight: Int {
        switch self {
        case .whole(let payload), .streamed(let payload, _): payload.readableBytes
        }
    }
}

/// Messages that have arrived together, as plain memory, so that none of them is allocated here and freed on another thread.
///
/// Small messages lie in the chunk; a larger one is a buffer of its own beside it. A message that is taken is copied out: the
/// chunk lives only while messages in it wait. ``Arrivals`` makes it.
// Sendable: nothing changes it or its memory once it is made.
final class ArrivalChunk: @unchecked Sendable {
    /// The largest message that lies in a chunk, in bytes.
    static let smallLimit = 4_096
    /// The most bytes of a chunk.
    static let limit = 65_536

    /// What there is in messages: their bytes, those whose taking is reported, and the large ones.
    struct Sums: Equatable {
        var weight = 0
        var reported = 0
        var large = 0
    }

    /// A message.
    struct Record {
        /// Where the tag begins, with the payload of a small message behind it.
        let offset: UInt32
        let tagCount: UInt8
        let isLarge: Bool
        let count: Int
        /// The bits of the key of a delivery that is to be settled; 0 for one that is settled.
        let slot: UInt
        let sequence: UInt64
        /// From the beginning of the chunk to the end of this message.
        let sums: Sums
    }

    private let bytes: UnsafeMutableRawPointer
    private let records: UnsafeMutablePointer<Record>
    let count: Int

    /// Whether the bytes lie behind the records in one piece of memory.
    private let isOnePiece: Bool

    /// Takes over memory that was allocated.
    init(bytes: UnsafeMutableRawPointer, records: UnsafeMutablePointer<Record>, count: Int) {
        self.bytes = bytes
        self.records = records
        self.count = count
        self.isOnePiece = false
    }

    /// Copies that many bytes and records.
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

    /// What there is in a part.
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

    /// The tag as it is kept: marked where the message has another format than 0.
    func tagBytes(_ record: Record) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: self.bytes + Int(record.offset), count: Int(record.tagCount))
    }

    /// A small message in a buffer of its own.
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
