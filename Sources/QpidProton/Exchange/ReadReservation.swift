internal import NIOCore
internal import Synchronization

/// The room in a shared budget for the next read of one socket. It is taken when the socket is readable, and given back when
/// what was read has been counted.
final class ReadReservation: Sendable {
    /// The most bytes of a TLS record that waits for its end, and comes with the bytes of the next read.
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

    /// What one read may bring without room.
    var margin: Int {
        AMQPMemoryBudget.margin + self.incomplete.load(ordering: .relaxed) + (self.isTLS ? Self.record : 0)
    }

    /// Takes room for a read of at most that many bytes. Returns how many may be read.
    func take(_ bytes: Int) -> Int {
        // What comes while TLS is being shut down is dropped.
        guard !self.isClosed.load(ordering: .relaxed) else { return AMQPMemoryBudget.margin }
        let last = self.taken.load(ordering: .relaxed)
        let incomplete = self.incomplete.load(ordering: .relaxed)
        let (read, taken) = self.budget.reserveRead(bytes, completing: incomplete, insteadOf: last)
        self.taken.store(taken, ordering: .relaxed)
        return read
    }

    /// What was read is counted from here on, but for that many bytes of a frame that is not complete. Returns what the budget
    /// is to get back.
    func end(leaving incomplete: Int) -> Int {
        let before = self.incomplete.exchange(incomplete, ordering: .relaxed)
        if before != incomplete { self.budget.moveMargin(by: incomplete - before) }
        return self.taken.exchange(0, ordering: .relaxed)
    }

    /// As ``end(leaving:)``, and no room is taken any more.
    func close() -> Int {
        self.isClosed.store(true, ordering: .relaxed)
        return self.end(leaving: 0)
    }
}

/// Buffers of the size that reads had lately, and no larger than there is room for.
struct BoundedReads: RecvByteBufferAllocator {
    let permit: ReadReservation
    private var sizes = AdaptiveRecvByteBufferAllocator()

    init(_ permit: ReadReservation) {
        self.permit = permit
    }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        let room = self.permit.take(self.sizes.nextBufferSize() ?? ReceiveBudget.read)
        // A buffer's capacity is a power of two, and all of it is read into.
        return allocator.buffer(capacity: 1 << (Int.bitWidth - 1 - room.leadingZeroBitCount))
    }

    /// Always true: a buffer that is used again would be as large as it was.
    mutating func record(actualReadBytes: Int) -> Bool {
        _ = self.sizes.record(actualReadBytes: actualReadBytes)
        return true
    }
}
