// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// Messages that share memory, and outcomes that share a block. Each block is freed by its last user, and not before.
@Suite struct MessageMemoryTests {
    /// Places a message of `size` bytes of the value `byte`. Returns `nil` if the arena does not accept the message.
    private func place(
        _ arena: inout MessageMemory,
        _ size: Int,
        _ byte: UInt8,
        isTaken: Bool = true,
        isKept: Bool = false
    ) throws -> MessageBytes? {
        var placed: MessageBytes?
        let isPlaced = try arena.place(
            isKept: isKept,
            bound: { size },
            { memory in
                guard memory.count >= size else { return nil }
                memory[..<size].initializeMemory(as: UInt8.self, repeating: byte)
                return size
            },
            { bytes in
                if isTaken { placed = bytes }
                return isTaken
            }
        )
        #expect(isKept || isPlaced == (size <= MessageMemory.largestMessage))
        return placed
    }

    private func read(_ bytes: MessageBytes) -> [UInt8] {
        var read: [UInt8] = []
        bytes.withBytes(0..<bytes.count) { read = Array($0) }
        return read
    }

    @Test func usesEndOnce() {
        let open = UseCount()
        let ends = [open.done(), open.close(after: 2), open.done()]
        #expect(ends == [false, false, true])
        let unused = UseCount()
        let isUnused = unused.close(after: 0)
        #expect(isUnused)
        let again = UseCount()
        let steps = [again.done(), again.restart(after: 2), again.done(), again.restart(after: 2)]
        #expect(steps == [false, false, false, true])
        let rest = [again.done(), again.close(after: 1)]
        #expect(rest == [false, true])
    }

    @Test func messagesKeepTheirBytes() throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        var arena = MessageMemory()
        var waiting: [(bytes: MessageBytes, size: Int, byte: UInt8)] = []
        for step in 0..<5_000 {
            let size = Int.random(in: 0...MessageMemory.largestMessage, using: &random)
            let byte = UInt8(truncatingIfNeeded: step)
            let isTaken = Int.random(in: 0..<4, using: &random) > 0
            if let bytes = try self.place(&arena, size, byte, isTaken: isTaken) { waiting.append((bytes, size, byte)) }
            // In some phases all messages leave, in others a long tail stays.
            while waiting.count > (step / 500 % 2 == 0 ? 0 : 200) {
                let index = Int.random(in: 0..<waiting.count, using: &random)
                let message = waiting.remove(at: index)
                #expect(self.read(message.bytes) == Array(repeating: message.byte, count: message.size))
                message.bytes.done()
            }
        }
        arena.close()
        for message in waiting {
            #expect(self.read(message.bytes) == Array(repeating: message.byte, count: message.size))
            message.bytes.done()
        }
    }

    @Test func aMessageThatCannotBeWrittenLeavesNothing() throws {
        var arena = MessageMemory()
        let first = try #require(try self.place(&arena, 10, 1))
        #expect(throws: AMQPError.self) {
            _ = try arena.place(
                bound: { 100 },
                { (_) throws(AMQPError) in throw AMQPError(condition: .invalidArgument, detail: "no") },
                { _ in true }
            )
        }
        let second = try #require(try self.place(&arena, 10, 2))
        #expect(self.read(first) == Array(repeating: 1, count: 10))
        #expect(self.read(second) == Array(repeating: 2, count: 10))
        first.done()
        second.done()
        arena.close()
    }

    @Test func aFreedSmallChunkIsNotReusedForALargerMessage() throws {
        var arena = MessageMemory()
        let small = try #require(try self.place(&arena, 10, 1))
        small.done()
        let large = try #require(try self.place(&arena, MessageMemory.largestMessage, 2))
        #expect(self.read(large) == Array(repeating: 2, count: MessageMemory.largestMessage))
        large.done()
        arena.close()
    }

    @Test func aMessageThatIsTooLargeIsDeclined() throws {
        var arena = MessageMemory()
        let large = try self.place(&arena, MessageMemory.largestMessage + 1, 3)
        #expect(large == nil)
        let first = try #require(try self.place(&arena, MessageMemory.largestMessage, 1))
        // The chunk has more room left than the largest message it accepts.
        let again = try self.place(&arena, MessageMemory.largestMessage + 1, 3)
        #expect(again == nil)
        #expect(self.read(first) == Array(repeating: 1, count: MessageMemory.largestMessage))
        first.done()
        arena.close()
    }

    @Test func thePoolKeepsALimitedNumberOfLargeChunks() {
        let pool = ChunkPool()
        let small = pool.take(100)
        #expect(small.count == 100)
        pool.giveBack(small)
        let chunks = (0...ChunkPool.most).map { _ in pool.take(ChunkPool.size) }
        for chunk in chunks { pool.giveBack(chunk) }
        #expect(pool.count == ChunkPool.most)
        let again = pool.take(ChunkPool.size)
        #expect(again.baseAddress == chunks[ChunkPool.most - 1].baseAddress)
        #expect(pool.count == ChunkPool.most - 1)
        again.deallocate()
    }

    @Test func aKeptMessageHasItsBytesUntilBothSidesAreDone() throws {
        var arena = MessageMemory(keptLimit: 100_000)
        let first = try #require(try self.place(&arena, 4_000, 1, isKept: true))
        let plain = try #require(try self.place(&arena, 4_000, 2))
        first.done()
        plain.done()
        // The link is done. Without the holder's use, the chunk would be written again.
        let next = try #require(try self.place(&arena, 4_000, 3, isKept: true))
        #expect(self.read(first) == Array(repeating: 1, count: 4_000))
        first.done()
        for _ in 0..<2 { next.done() }
        arena.close()
    }

    @Test func keptMessagesUseALimitedNumberOfChunks() throws {
        var arena = MessageMemory(keptLimit: 100_000)
        var kept: [MessageBytes] = []
        while let bytes = try self.place(&arena, 1_000, 1, isKept: true) {
            bytes.done()
            kept.append(bytes)
        }
        #expect((80...100).contains(kept.count), "\(kept.count)")
        // One message prevents the release of its chunk.
        for (index, bytes) in kept.enumerated() where index % 16 != 0 { bytes.done() }
        #expect(try self.place(&arena, 5_000, 2, isKept: true) == nil)
        let plain = try #require(try self.place(&arena, 5_000, 2), "a message that its holder does not keep")
        plain.done()
        for (index, bytes) in kept.enumerated() where index % 16 == 0 { bytes.done() }
        let last = try #require(try self.place(&arena, 1_000, 3, isKept: true), "the memory is free again")
        for _ in 0..<2 { last.done() }
        arena.close()
    }

    @Test func aLargeMessageIsNotCopied() {
        let buffer = ByteBuffer(repeating: 7, count: 100_000)
        let bytes = MessageChunk.message(buffer)
        #expect(bytes.count == 100_000)
        let own = buffer.withUnsafeReadableBytes { $0.baseAddress }
        bytes.withBytes(10..<20) { part in
            #expect(part.baseAddress == own.map { $0 + 10 })
            #expect(Array(part) == Array(repeating: 7, count: 10))
        }
        bytes.done()
    }

    @Test func aBlockOfOutcomesLivesAsLongAsOneIsAwaited() {
        var outcomes = OutcomeSource()
        weak var block: OutcomeBlock?
        var kept: OutcomeReply?
        var promises: [OutcomePromise] = []
        for index in 0..<OutcomeBlock.capacity {
            let (promise, reply) = outcomes.next()
            promises.append(promise)
            if index == 3 {
                kept = reply
                block = reply.block
            }
        }
        for promise in promises.dropFirst() { promise.resolve(.success(.accepted)) }
        #expect(kept?.answer == .success(.accepted))
        kept = nil
        #expect(block != nil)
        promises[0].resolve(.failure(.cancelled))
        #expect(block == nil)
    }

    @Test func everyAnswerIsReturnedUnchanged() {
        let answers: [Result<AMQPOutcome, AMQPError>] = [
            .success(.accepted), .success(.released), .success(.settled), .success(.rejected(nil)),
            .success(.rejected(AMQPError(scope: .delivery, condition: .notAllowed, detail: "no"))),
            .success(.modified(AMQPModified(deliveryFailed: true))), .failure(.sendCancelled),
        ]
        var outcomes = OutcomeSource()
        for answer in answers {
            let (promise, reply) = outcomes.next()
            #expect(promise.belongs(to: reply))
            let early = Mutex<[Result<AMQPOutcome, AMQPError>]>([])
            reply.whenResolved { answer in early.withLock { $0.append(answer) } }
            #expect(reply.answer == nil)
            promise.resolve(answer)
            reply.whenResolved { answer in early.withLock { $0.append(answer) } }
            #expect(reply.answer == answer)
            #expect(early.withLock { $0 } == [answer, answer])
        }
        outcomes.close()
    }

    /// Waiters and the answer meet from two threads, in every order.
    @Test func everyWaiterIsResumed() async throws {
        for round in 0..<2_000 {
            var outcomes = OutcomeSource()
            let (promise, reply) = outcomes.next()
            outcomes.close()
            let wait = Task.detached { try await reply.value() }
            if round % 2 == 0 { await Task.yield() }
            promise.resolve(round % 3 == 0 ? .success(.rejected(nil)) : .success(.accepted))
            #expect(try await wait.value == (round % 3 == 0 ? .rejected(nil) : .accepted))
        }
    }
}
