internal import NIOCore

/// What has arrived since the last hand-over, in chunks; filled on the event loop.
struct Arrivals {
    /// Chunks in order; the last one has room.
    private(set) var chunks: [ArrivalChunk] = []
    /// The payloads of the large messages, in order.
    private(set) var large: [ByteBuffer] = []
    /// How much came the last time, so that the next chunk need not grow.
    private var expected = (bytes: 0, count: 0)

    var isEmpty: Bool { self.chunks.isEmpty }

    /// A chunk with room for one message of so many bytes, tag included, and where they are to be written.
    mutating func room(for count: Int) -> (chunk: ArrivalChunk, room: UnsafeMutableRawPointer)? {
        if let last = self.chunks.last, let room = last.room(for: count) { return (last, room) }
        let chunk = ArrivalChunk(bytes: max(count, self.expected.bytes), count: self.expected.count)
        guard let room = chunk.room(for: count) else { return nil }
        self.chunks.append(chunk)
        return (chunk, room)
    }

    /// Adds the payload of a large message, whose record is in the last chunk.
    mutating func append(large payload: ByteBuffer) {
        self.large.append(payload)
    }

    /// Forgets what was handed over.
    mutating func removeAll() {
        if let last = self.chunks.first { self.expected = (last.used, last.count) }
        self.chunks.removeAll(keepingCapacity: true)
        self.large.removeAll(keepingCapacity: false)
    }
}
