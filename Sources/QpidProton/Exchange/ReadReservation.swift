// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The room in a shared budget for the next read of one socket. The socket reserves the room when it is readable. The
/// connection releases the room when it has counted the bytes.
final class ReadReservation: Sendable {
    /// The most bytes of an incomplete TLS record, which arrive with the bytes of the next read.
    private static let record = 16_384

    private let budget: AMQPMemoryBudget
    private let isTLS: Bool
    private let taken = Atomic(0)
    private let incomplete = Atomic(0)
    private let isClosed = Atomic(false)

    init(_ budget: AMQPMemoryBudget, isTLS: Bool) {
        self.budget = budget
        self.isTLS = isTLS
    }

    /// The most bytes of one read without room.
    var margin: Int {
        AMQPMemoryBudget.margin + self.incomplete.load(ordering: .relaxed) + (self.isTLS ? Self.record : 0)
    }

    /// Reserves room for a read of at most `bytes` bytes. Returns the number of bytes to read.
    func take(_ bytes: Int) -> Int {
        // The pipeline drops bytes that arrive during the shutdown of TLS.
        guard !self.isClosed.load(ordering: .relaxed) else { return AMQPMemoryBudget.margin }
        let last = self.taken.load(ordering: .relaxed)
        let incomplete = self.incomplete.load(ordering: .relaxed)
        let (read, taken) = self.budget.reserveRead(bytes, completing: incomplete, insteadOf: last)
        self.taken.store(taken, ordering: .relaxed)
        return read
    }

    /// Ends the reservation of a read whose bytes are now counted, except the bytes of an incomplete frame. Returns the
    /// number of bytes to release in the budget.
    func end(leaving incomplete: Int) -> Int {
        let before = self.incomplete.exchange(incomplete, ordering: .relaxed)
        if before != incomplete { self.budget.moveMargin(by: incomplete - before) }
        return self.taken.exchange(0, ordering: .relaxed)
    }

    /// Ends the last reservation, and prevents further reservations. Returns the number of bytes to release in the
    /// budget.
    func close() -> Int {
        self.isClosed.store(true, ordering: .relaxed)
        return self.end(leaving: 0)
    }
}

/// The allocator of buffers of the size of recent reads, within the reserved room.
struct BoundedReads: RecvByteBufferAllocator {
    let permit: ReadReservation
    private var sizes = AdaptiveRecvByteBufferAllocator()

    init(_ permit: ReadReservation) {
        self.permit = permit
    }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        let room = self.permit.take(self.sizes.nextBufferSize() ?? ReceiveBudget.read)
        // A buffer's capacity is a power of two, and a read fills all of it.
        return allocator.buffer(capacity: 1 << (Int.bitWidth - 1 - room.leadingZeroBitCount))
    }

    /// Always returns true, because a reused buffer would keep its size.
    mutating func record(actualReadBytes: Int) -> Bool {
        _ = self.sizes.record(actualReadBytes: actualReadBytes)
        return true
    }
}
