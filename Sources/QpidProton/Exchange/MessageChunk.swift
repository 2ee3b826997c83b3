// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The memory for the encoded messages of one sender, in order, or for one large message.
///
/// Sendable: bytes are written before their message is handed over under a lock, and are then only read until it is
/// done.
final class MessageChunk: @unchecked Sendable {
    let memory: UnsafeMutableRawBufferPointer
    /// A message that is a buffer already, or is too large to copy.
    private let buffer: ByteBuffer?
    /// The sum in which the memory counts until it is freed.
    private let total: ChunkTotal?
    let uses = UseCount()

    private init(_ memory: UnsafeMutableRawBufferPointer, _ buffer: ByteBuffer?, _ total: ChunkTotal? = nil) {
        self.memory = memory
        self.buffer = buffer
        self.total = total
        total?.add(memory.count)
    }

    /// Returns a chunk that lives until it is closed and all uses have ended.
    static func make(capacity: Int, in total: ChunkTotal? = nil) -> MessageChunk {
        self.retained(MessageChunk(ChunkPool.shared.take(capacity), nil, total))
    }

    /// Returns one message in memory of its own.
    static func message(_ buffer: ByteBuffer) -> MessageBytes {
        let chunk = self.retained(MessageChunk(.init(start: nil, count: 0), buffer))
        _ = chunk.uses.close(after: 1)
        return MessageBytes(chunk, 0..<buffer.readableBytes)
    }

    private static func retained(_ chunk: MessageChunk) -> MessageChunk {
        _ = Unmanaged.passRetained(chunk)
        return chunk
    }

    deinit {
        ChunkPool.shared.giveBack(self.memory)
        self.total?.add(-self.memory.count)
    }

    fileprivate func withBytes(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard let buffer = self.buffer else {
            return body(UnsafeRawBufferPointer(rebasing: self.memory[range]))
        }
        buffer.withUnsafeReadableBytes { body(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }
}

/// The memory of the chunks of one link, in bytes.
final class ChunkTotal: Sendable {
    private let sum = Atomic(0)

    var bytes: Int { self.sum.load(ordering: .relaxed) }

    fileprivate func add(_ bytes: Int) { self.sum.add(bytes, ordering: .relaxed) }
}

/// The memory of finished large chunks of all connections, kept for further chunks. The system reclaims freed memory of
/// this size at once, and a new allocation costs as much as copying the messages.
final class ChunkPool: Sendable {
    static let shared = ChunkPool()
    /// The size of the pooled chunks, in bytes; together at most 4 MiB.
    static let size = 65_536
    static let most = 64

    // Sendable: only the task that has taken the memory from the pool uses it.
    private struct Spare: @unchecked Sendable {
        let memory: UnsafeMutableRawBufferPointer
    }

    private let spares = Mutex<[Spare]>([])

    deinit { self.spares.withLock { $0.forEach { $0.memory.deallocate() } } }

    /// The number of pooled chunks.
    var count: Int { self.spares.withLock { $0.count } }

    func take(_ capacity: Int) -> UnsafeMutableRawBufferPointer {
        if capacity == Self.size, let spare = self.spares.withLock({ $0.popLast() }) { return spare.memory }
        return .allocate(byteCount: capacity, alignment: 16)
    }

    func giveBack(_ memory: UnsafeMutableRawBufferPointer) {
        guard memory.count == Self.size, self.keep(Spare(memory: memory)) else { return memory.deallocate() }
    }

    /// Stores memory for further chunks. Returns false if the pool is full.
    private func keep(_ spare: Spare) -> Bool {
        self.spares.withLock { spares in
            guard spares.count < Self.most else { return false }
            spares.append(spare)
            return true
        }
    }
}

/// The bytes of one message in a chunk: a plain value that must be released once with ``done()``.
///
/// Copies do not count as uses, because messages pass many places on two threads.
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

    /// Calls `body` with a part of the bytes.
    func withBytes(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Void) {
        let start = Int(self.offset) + range.lowerBound
        self.chunk._withUnsafeGuaranteedRef { $0.withBytes(start..<start + range.count, body) }
    }

    /// A copy of the bytes.
    var buffer: ByteBuffer {
        var buffer = ByteBuffer()
        self.withBytes(0..<self.count) { buffer.writeBytes($0) }
        return buffer
    }

    /// Releases the bytes, which must not be used afterwards.
    func done() {
        if self.chunk._withUnsafeGuaranteedRef({ $0.uses.done() }) { self.chunk.release() }
    }
}

/// A message whose bytes its holder keeps in the memory of the link: a plain value.
struct KeptMessage: Sendable {
    /// The bytes. The holder releases them once with ``MessageBytes/done()``, as the link does.
    let bytes: MessageBytes
    /// The number of the message with its holder.
    let number: UInt64
    let isSettled: Bool
}

/// The memory for one sender's messages. The sender uses a chunk again once all its messages are done. Otherwise it
/// continues with a further chunk.
///
/// Chunks belong to one sender, so a stalled link holds only memory of its own messages.
struct MessageMemory {
    /// The largest message in a shared chunk, in bytes; larger messages have memory of their own.
    static let largestMessage = 16_384
    /// The largest message in a small chunk; the first small chunk is smaller still.
    private static let smallMessage = 4_096
    private static let firstChunk = 8_192
    private static let smallChunk = 16_384

    private var chunk: MessageChunk?
    private var offset = 0
    /// The uses of the chunk by messages: one for the link, and one for a holder that keeps the message.
    private var uses = 0
    /// The most bytes of chunks with messages that their holder keeps.
    private let keptLimit: Int
    /// The memory of all chunks; `nil` without a holder.
    private let total: ChunkTotal?

    /// - Parameter keptLimit: The most bytes of chunks with messages that their holder keeps; `nil` without a holder.
    init(keptLimit: Int? = nil) {
        self.keptLimit = keptLimit ?? 0
        self.total = keptLimit.map { _ in ChunkTotal() }
    }

    /// Writes a message and hands it over. Does nothing if the message is larger than ``largestMessage``.
    ///
    /// - Parameters:
    ///   - isKept: Whether the holder of the message keeps the bytes too. Such a message is placed only while the chunks
    ///     are within their limit: one kept message prevents the release of a whole chunk.
    ///   - bound: The largest possible size; evaluated if the rest of the chunk may be too small.
    ///   - write: Writes the message and returns its size; `nil` if the memory does not suffice.
    ///   - handOver: Receives the message; returns false if there is no room for it.
    /// - Returns: Whether the message was small enough, and the chunks within their limit.
    @inline(__always)
    mutating func place(
        isKept: Bool = false,
        bound: () throws(AMQPError) -> Int,
        _ write: (UnsafeMutableRawBufferPointer) throws(AMQPError) -> Int?,
        _ handOver: (MessageBytes) throws(AMQPError) -> Bool
    ) throws(AMQPError) -> Bool {
        if let chunk = self.chunk, let size = try write(self.rest(of: chunk)) {
            try self.handOver(chunk, size, isKept, handOver)
            return true
        }
        let bound = try bound()
        guard bound <= Self.largestMessage, let chunk = self.room(bound, isKept),
            let size = try write(self.rest(of: chunk))
        else { return false }
        try self.handOver(chunk, size, isKept, handOver)
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
        _ isKept: Bool,
        _ body: (MessageBytes) throws(AMQPError) -> Bool
    ) throws(AMQPError) {
        guard try body(MessageBytes(chunk, self.offset..<self.offset + size)) else { return }
        self.offset += size
        self.uses += isKept ? 2 : 1
    }

    /// Returns a chunk with room for a message; `nil` if the chunks would exceed the limit of kept messages.
    private mutating func room(_ bound: Int, _ isKept: Bool) -> MessageChunk? {
        if let chunk = self.chunk {
            if chunk.memory.count - self.offset >= bound { return chunk }
            if chunk.memory.count >= bound, chunk.uses.restart(after: self.uses) {
                self.offset = 0
                self.uses = 0
                return chunk
            }
        }
        let small = self.chunk == nil ? Self.firstChunk : Self.smallChunk
        let capacity = bound > Self.smallMessage ? ChunkPool.size : small
        if isKept, let total = self.total, total.bytes + capacity > self.keptLimit { return nil }
        self.close()
        let chunk = MessageChunk.make(capacity: capacity, in: self.total)
        self.chunk = chunk
        return chunk
    }

    /// Abandons the chunk, which is freed with its last message.
    mutating func close() {
        guard let chunk = self.chunk else { return }
        if chunk.uses.close(after: self.uses) { Unmanaged.passUnretained(chunk).release() }
        self.chunk = nil
        self.offset = 0
        self.uses = 0
    }
}
