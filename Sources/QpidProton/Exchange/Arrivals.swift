// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The messages that arrived since the last batch for the tasks. Only the event loop adds messages.
final class Arrivals {
    typealias Record = ArrivalChunk.Record

    /// The messages for the tasks: chunks, and the payloads of the large messages, both in order.
    struct Batch: Sendable {
        var chunks: [ArrivalChunk] = []
        var large: [LargeArrival] = []
    }

    /// The first allocation, in bytes and messages.
    private static let least = 512
    private static let fewest = 4

    /// The memory of the current chunk; `nil` before its first message.
    private var bytes: UnsafeMutableRawPointer?
    private var capacity = 0
    private var used = 0
    private var records: UnsafeMutablePointer<Record>?
    private var recordCapacity = 0
    private var count = 0
    private var sums = ArrivalChunk.Sums()
    /// The finished chunks. Exclusivity checks are off, because each access is one call on a plain value.
    @exclusivity(unchecked) private var done = Batch()
    /// The size of the last chunk, so that the next chunk need not grow.
    private var expected = (bytes: 0, count: 0)

    deinit {
        self.bytes?.deallocate()
        self.records?.deallocate()
    }

    var isEmpty: Bool { self.count == 0 && self.done.chunks.isEmpty }

    /// The number of messages since the last batch for the tasks.
    var messages: Int { self.done.chunks.reduce(self.count) { $0 + $1.count } }

    /// Returns room for the tag and the payload of a small message, or for the tag of a large message.
    func room(for count: Int) -> UnsafeMutableRawPointer {
        let needed = self.used + count
        if let bytes = self.bytes, needed <= self.capacity { return bytes + self.used }
        return self.grow(count)
    }

    private func grow(_ count: Int) -> UnsafeMutableRawPointer {
        if self.used + count > ArrivalChunk.limit { self.seal() }
        let least = self.bytes == nil ? max(self.expected.bytes, Self.least) : self.capacity * 2
        let capacity = max(self.used + count, min(least, ArrivalChunk.limit))
        self.bytes = Self.moved(self.bytes, self.used, to: capacity)
        self.capacity = capacity
        return self.bytes! + self.used
    }

    /// Adds the message whose tag (and payload if it is small) is in the ``room(for:)``.
    func append(tagCount: Int, count: Int, isLarge: Bool = false, slot: UInt, sequence: UInt64, isReported: Bool) {
        if self.count == self.recordCapacity { self.growRecords() }
        self.sums.weight += count
        if isReported { self.sums.reported += 1 }
        if isLarge { self.sums.large += 1 }
        let record = Record(
            offset: UInt32(self.used),
            tagCount: UInt8(tagCount),
            isLarge: isLarge,
            count: count,
            slot: slot,
            sequence: sequence,
            sums: self.sums
        )
        (self.records! + self.count).initialize(to: record)
        self.count += 1
        self.used += tagCount + (isLarge ? 0 : count)
    }

    private func growRecords() {
        let capacity = max(self.recordCapacity * 2, self.expected.count, Self.fewest)
        let records = UnsafeMutablePointer<Record>.allocate(capacity: capacity)
        if let old = self.records {
            records.update(from: old, count: self.count)
            old.deallocate()
        }
        (self.records, self.recordCapacity) = (records, capacity)
    }

    /// Adds a large or a streamed message whose tag is in the ``room(for:)``.
    func append(large: LargeArrival, tagCount: Int, slot: UInt, sequence: UInt64, isReported: Bool) {
        self.done.large.append(large)
        self.append(
            tagCount: tagCount,
            count: large.weight,
            isLarge: true,
            slot: slot,
            sequence: sequence,
            isReported: isReported
        )
    }

    /// Returns the arrived messages, and starts an empty batch.
    func take() -> Batch {
        self.seal()
        defer { self.done = Batch() }
        return self.done
    }

    /// Creates a chunk of the current messages.
    private func seal() {
        guard self.count > 0, let records = self.records, let bytes = self.bytes else { return }
        self.expected = (self.used, self.count)
        defer {
            (self.used, self.count) = (0, 0)
            self.sums = ArrivalChunk.Sums()
        }
        // With many links only few messages arrive at a time, so the next chunk reuses this small memory.
        if self.capacity <= Self.least, self.recordCapacity <= Self.fewest {
            let bytes = UnsafeRawBufferPointer(start: bytes, count: self.used)
            let records = UnsafeBufferPointer(start: records, count: self.count)
            return self.done.chunks.append(ArrivalChunk(copying: bytes, records))
        }
        // A few waiting messages must not occupy the memory of many.
        let fitting = self.used * 4 < self.capacity ? Self.moved(bytes, self.used, to: max(self.used, 1)) : bytes
        self.done.chunks.append(ArrivalChunk(bytes: fitting, records: records, count: self.count))
        self.bytes = nil
        self.records = nil
        (self.capacity, self.recordCapacity) = (0, 0)
    }

    private static func moved(
        _ old: UnsafeMutableRawPointer?,
        _ count: Int,
        to capacity: Int
    ) -> UnsafeMutableRawPointer {
        let new = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
        if let old {
            new.copyMemory(from: old, byteCount: count)
            old.deallocate()
        }
        return new
    }
}
