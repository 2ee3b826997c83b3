internal import NIOCore

/// Messages that have arrived together, as plain memory, so that none of them is allocated here and freed on another thread.
///
/// Small messages lie in the chunk; a larger one is a buffer of its own beside it. A message that is taken is copied out: the
/// chunk lives only while messages in it wait.
// Sendable: the event loop fills it before it hands it over, and nothing changes it from then on.
final class ArrivalChunk: @unchecked Sendable {
    /// The largest message that lies in a chunk, in bytes.
    static let smallLimit = 4_096
    /// The most bytes of a chunk.
    static let limit = 65_536

    /// A message. The sums are those of the chunk from its beginning to this message's end.
    struct Record {
        /// Where the tag begins, with the payload of a small message behind it.
        let offset: UInt32
        let tagCount: UInt8
        let isLarge: Bool
        let isReported: Bool
        let count: Int
        /// The bits of the key of a delivery that is to be settled; 0 for one that is settled.
        let slot: UInt
        let sequence: UInt64
        fileprivate var weightSum = 0
        fileprivate var reportedSum = 0
        fileprivate var largeSum = 0
    }

    private var bytes: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var used = 0
    private var records: UnsafeMutablePointer<Record>
    private var recordCapacity: Int
    private(set) var count = 0

    /// - Parameters: How many bytes and messages are expected.
    init(bytes: Int, count: Int) {
        self.capacity = min(max(bytes, 512), Self.limit)
        self.bytes = .allocate(byteCount: self.capacity, alignment: 8)
        self.recordCapacity = max(count, 4)
        self.records = .allocate(capacity: self.recordCapacity)
    }

    deinit {
        self.bytes.deallocate()
        self.records.deallocate()
    }

    subscript(index: Int) -> Record {
        precondition(index >= 0 && index < self.count)
        return self.records[index]
    }

    // MARK: Filling

    /// Room behind what is there for one message; nil when the chunk is full.
    func room(for count: Int) -> UnsafeMutableRawPointer? {
        let needed = self.used + count
        if needed > self.capacity {
            guard needed <= Self.limit else { return nil }
            let capacity = min(Self.limit, max(needed, self.capacity * 2))
            let bytes = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
            bytes.copyMemory(from: self.bytes, byteCount: self.used)
            self.bytes.deallocate()
            (self.bytes, self.capacity) = (bytes, capacity)
        }
        return self.bytes + self.used
    }

    /// Adds the message whose tag, and payload where it is small, were written into the ``room(for:)``.
    func append(tagCount: Int, count: Int, isLarge: Bool, slot: UInt, sequence: UInt64, isReported: Bool) {
        if self.count == self.recordCapacity {
            let records = UnsafeMutablePointer<Record>.allocate(capacity: self.recordCapacity * 2)
            records.update(from: self.records, count: self.count)
            self.records.deallocate()
            (self.records, self.recordCapacity) = (records, self.recordCapacity * 2)
        }
        var record = Record(
            offset: UInt32(self.used),
            tagCount: UInt8(tagCount),
            isLarge: isLarge,
            isReported: isReported,
            count: count,
            slot: slot,
            sequence: sequence
        )
        let sums = self.sums(before: self.count)
        record.weightSum = sums.weight + count
        record.reportedSum = sums.reported + (isReported ? 1 : 0)
        record.largeSum = sums.large + (isLarge ? 1 : 0)
        self.records[self.count] = record
        self.count += 1
        self.used += tagCount + (isLarge ? 0 : count)
    }

    // MARK: Taking

    typealias Sums = (weight: Int, reported: Int, large: Int)

    private func sums(before index: Int) -> Sums {
        guard index > 0 else { return (0, 0, 0) }
        let record = self.records[index - 1]
        return (record.weightSum, record.reportedSum, record.largeSum)
    }

    /// The bytes, the messages whose taking is reported, and the large ones of a part.
    func sums(_ range: Range<Int>) -> Sums {
        precondition(range.upperBound <= self.count)
        let (start, end) = (self.sums(before: range.lowerBound), self.sums(before: range.upperBound))
        return (end.weight - start.weight, end.reported - start.reported, end.large - start.large)
    }

    func tag(_ record: Record) -> AMQPDelivery.Tag {
        AMQPDelivery.Tag(UnsafeRawBufferPointer(start: self.bytes + Int(record.offset), count: Int(record.tagCount)))
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
