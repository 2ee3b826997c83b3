// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// Memory for messages: the last use frees it, and the pool keeps large chunks for reuse.
@Suite struct MessageChunkTests {
    private func read(_ bytes: MessageBytes, _ range: Range<Int>? = nil) -> [UInt8] {
        var read: [UInt8] = []
        bytes.withBytes(range ?? 0..<bytes.count) { read = Array($0) }
        return read
    }

    @Test func aMessageIsTheReadablePartOfItsBuffer() {
        var buffer = ByteBuffer(bytes: 0..<10)
        buffer.moveReaderIndex(forwardBy: 3)
        let bytes = MessageChunk.message(buffer)
        #expect(bytes.count == 7 && self.read(bytes) == Array(3..<10))
        #expect(self.read(bytes, 2..<4) == [5, 6] && self.read(bytes, 7..<7) == [])
        let copy = bytes.buffer
        bytes.done()
        #expect(copy == buffer)
    }

    @Test func anEmptyMessageHasNoBytes() {
        let bytes = MessageChunk.message(ByteBuffer())
        #expect(bytes.count == 0 && self.read(bytes) == [] && bytes.buffer.readableBytes == 0)
        bytes.done()
    }

    @Test func messagesOfAChunkKeepTheirPlaces() {
        weak var gone: MessageChunk?
        let messages: [MessageBytes]
        do {
            let chunk = MessageChunk.make(capacity: 100)
            gone = chunk
            for index in 0..<100 { chunk.memory[index] = UInt8(index) }
            messages = [MessageBytes(chunk, 0..<40), MessageBytes(chunk, 40..<100)]
        }
        #expect(messages.map(\.count) == [40, 60])
        #expect(self.read(messages[1], 1..<3) == [41, 42])
        // The uses of the chunk are not closed: more may follow.
        messages[0].done()
        let isLast = gone?.uses.close(after: 2)
        #expect(isLast == false)
        #expect(self.read(messages[1]).last == 99)
        messages[1].done()
        #expect(gone == nil)
    }

    @Test func thePoolReusesTheMemoryOfALargeChunk() {
        let pool = ChunkPool()
        let memory = pool.take(ChunkPool.size)
        #expect(memory.count == ChunkPool.size && pool.count == 0)
        pool.giveBack(memory)
        #expect(pool.count == 1)
        // A smaller chunk is not cut from the large one.
        let small = pool.take(100)
        #expect(small.count == 100 && pool.count == 1)
        pool.giveBack(small)
        #expect(pool.count == 1)
        let again = pool.take(ChunkPool.size)
        #expect(again.baseAddress == memory.baseAddress && pool.count == 0)
        again.deallocate()
    }

    @Test func thePoolKeepsALimitedNumberOfChunks() {
        let pool = ChunkPool()
        let all = (0..<ChunkPool.most + 10).map { _ in pool.take(ChunkPool.size) }
        for memory in all { pool.giveBack(memory) }
        #expect(pool.count == ChunkPool.most)
    }
}
