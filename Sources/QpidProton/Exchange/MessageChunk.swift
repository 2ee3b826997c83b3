internal import NIOCore
internal import Synchronization

/// Memory for the encoded messages of one sender, one behind the other, or one large message.
///
/// Proof of being Sendable: bytes are written before the message that they belong to is handed over under a lock, and
/// are only read from then on until it is done.
final class MessageChunk: @unchecked Sendable {
    let memory: UnsafeMutableRawBufferPointer
    /// A message that came as a buffer, or is too large to be copied.
    private let buffer: ByteBuffer?
    let uses = UseCount()

    private init(_ memory: UnsafeMutableRawBufferPointer, _ buffer: ByteBuffer?) {
        self.memory = memory
        self.buffer = buffer
    }

    /// A chunk that lives until its uses are closed and all are back.
    static func make(capacity: Int) -> MessageChunk {
        self.retained(MessageChunk(ChunkPool.shared.take(capacity), nil))
    }

    /// One message, in memory of its own.
    static func message(_ buffer: ByteBuffer) -> MessageBytes {
        let chunk = self.retained(MessageChunk(.init(start: nil, count: 0), buffer))
        _ = chunk.uses.close(after: 1)
        return MessageBytes(chunk, 0..<buffer.readableBytes)
    }

    private static func retained(_ chunk: MessageChunk) -> MessageChunk {
        _ = Unmanaged.passRetained(chunk)
        return chunk
    }

    deinit { ChunkPool.shared.giveBack(self.memory) }

    fileprivate func withBytes(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard let buffer = self.buffer else {
            return body(UnsafeRawBufferPointer(rebasing: self.memory[range]))
        }
        buffer.withUnsafeReadableBytes { body(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }
}

/// Memory for the large chunks of all connections that are done: the system takes such memory back at once where it is freed, and
/// to be given new costs as much as to copy the messages.
final class ChunkPool: Sendable {
    static let shared = ChunkPool()
    /// The chunks that are kept, in bytes each; 4 MiB of them at most.
    static let size = 65_536
    static let most = 64

    // Sendable: whoever takes it from the pool is the only one who has it.
    private struct Spare: @unchecked Sendable {
        let memory: UnsafeMutableRawBufferPointer
    }

    private let spares = Mutex<[Spare]>([])

    deinit { self.spares.withLock { $0.forEach { $0.memory.deallocate() } } }

    /// How many chunks are kept.
    var count: Int { self.spares.withLock { $0.count } }

    func take(_ capacity: Int) -> UnsafeMutableRawBufferPointer {
        if capacity == Self.size, let spare = self.spares.withLock({ $0.popLast() }) { return spare.memory }
        return .allocate(byteCount: capacity, alignment: 16)
    }

    func giveBack(_ memory: UnsafeMutableRawBufferPointer) {
        guard memory.count == Self.size, self.keep(Spare(memory: memory)) else { return memory.deallocate() }
    }

    /// Returns whether there was room.
    private func keep(_ spare: Spare) -> Bool {
        self.spares.withLock { spares in
            guard spares.count < Self.most else { return false }
            spares.append(spare)
            return true
        }
    }
}

/// The bytes of one message in a chunk: a plain value, whose use has to be given back once with ``done()``.
///
/// Nothing is counted when it is copied: messages pass many hands on their way, on two threads.
struct MessageBytes: Sendable {
    private let chunk: Unmanaged<MessageChunk>
    private let offset: UInt32
    private let length: UInt32

    init(_ chunk: MessageChunk, _ range: Range<Int>) {
        self.chunk = Unmanaged.passUnretained(chunk)
        self.offset = UInt32(range.lowerBound)
        self.length = UInt32(range.count)
    }

    var count: Int { Int(self.length) }

    /// Lends a part of the bytes.
    func withBytes(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Void) {
        let start = Int(self.offset) + range.lowerBound
        self.chunk._withUnsafeGuaranteedRef { $0.withBytes(start..<start + range.count, body) }
    }

    /// A copy for others.
    var buffer: ByteBuffer {
        var buffer = ByteBuffer()
        self.withBytes(0..<self.count) { buffer.writeBytes($0) }
        return buffer
    }

    /// Gives the bytes back: they must not be touched any more.
    func done() {
        if self.chunk._withUnsafeGuaranteedRef({ $0.uses.done() }) { self.chunk.release() }
    }
}

/// Where one sender's messages are encoded: in a chunk that is begun again as soon as all in it is done, else in the next.
///
/// Chunks belong to one sender, so that a link that cannot move holds only memory that its own messages fill.
struct MessageMemory {
    /// Messages up to this size share chunks; larger ones have memory of their own.
    static let largestMessage = 16_384
    /// Up to this size they share small chunks, the first of which is smaller still.
    private static let smallMessage = 4_096
    private static let firstChunk = 8_192
    private static let smallChunk = 16_384

    private var chunk: MessageChunk?
    private var offset = 0
    private var messages = 0

    /// Has a message written and handed over, unless it is larger than ``largestMessage``: then nothing is done.
    ///
    /// - Parameters:
    ///   - bound: What the message takes at most; asked for where the chunk's rest does not suffice.
    ///   - write: Writes the message and returns its size; `nil` if the memory does not suffice.
    ///   - handOver: Takes the message; false when there is no room for it.
    /// - Returns: Whether the message was small enough.
    @inline(__always)
    mutating func place(
        bound: () throws(AMQPError) -> Int,
        _ write: (UnsafeMutableRawBufferPointer) throws(AMQPError) -> Int?,
        _ handOver: (MessageBytes) throws(AMQPError) -> Bool
    ) throws(AMQPError) -> Bool {
        if let chunk = self.chunk, let size = try write(self.rest(of: chunk)) {
            try self.handOver(chunk, size, handOver)
            return true
        }
        let bound = try bound()
        guard bound <= Self.largestMessage else { return false }
        let chunk = self.room(bound)
        guard let size = try write(self.rest(of: chunk)) else { return false }
        try self.handOver(chunk, size, handOver)
        return true
    }

    @inline(__always)
    private func rest(of chunk: MessageChunk) -> UnsafeMutableRawBufferPointer {
        let end = min(self.offset + Self.largestMessage, chunk.memory.count)
        return UnsafeMutableRawBufferPointer(rebasing: chunk.memory[self.offset..<end])
    }

    @inline(__always)
    private mutating func handOver(
        _ chunk: MessageChunk,
        _ size: Int,
        _ body: (MessageBytes) throws(AMQPError) -> Bool
    ) throws(AMQPError) {
        guard try body(MessageBytes(chunk, self.offset..<self.offset + size)) else { return }
        self.offset += size
        self.messages += 1
    }

    private mutating func room(_ bound: Int) -> MessageChunk {
        if let chunk = self.chunk {
            if chunk.memory.count - self.offset >= bound { return chunk }
            if chunk.memory.count >= bound, chunk.uses.restart(after: self.messages) {
                self.offset = 0
                self.messages = 0
                return chunk
            }
        }
        let small = self.chunk == nil ? Self.firstChunk : Self.smallChunk
        let capacity = bound > Self.smallMessage ? ChunkPool.size : small
        self.close()
        let chunk = MessageChunk.make(capacity: capacity)
        self.chunk = chunk
        return chunk
    }

    /// Gives the chunk up; it goes when its messages have gone.
    mutating func close() {
        guard let chunk = self.chunk else { return }
        if chunk.uses.close(after: self.messages) { Unmanaged.passUnretained(chunk).release() }
        self.chunk = nil
        self.offset = 0
        self.messages = 0
    }
}
