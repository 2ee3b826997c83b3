// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// The path of messages from the loop to the tasks, in chunks.
@Suite(.deadline)
struct InboxTests {
    private let settler = Settler(
        outbox: Outbox(),
        receiver: SlotKey(bitPattern: 1),
        unsent: UnsentSettlements(metadata: [:], logger: LogLines().logger)
    )

    private func makeInbox(
        reportEvery: Int = .max,
        report: @escaping @Sendable (Int) -> Void = { _ in }
    ) -> Inbox {
        Inbox(reportEvery: reportEvery, report: report, settler: self.settler)
    }

    /// Adds a message as the receiver does. Its number is its sequence, its tag and the value of its bytes.
    private func add(_ number: Int, _ size: Int, to arrivals: Arrivals, isReported: Bool = false) {
        let tag = Array("\(number)".utf8)
        let isLarge = size > ArrivalChunk.smallLimit
        let room = arrivals.room(for: tag.count + (isLarge ? 0 : size))
        room.copyMemory(from: tag, byteCount: tag.count)
        let slot = number.isMultiple(of: 3) ? 0 : UInt(number)
        if isLarge {
            arrivals.append(
                large: .whole(ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: size)),
                tagCount: tag.count,
                slot: slot,
                sequence: UInt64(number),
                isReported: isReported
            )
        } else {
            (room + tag.count).initializeMemory(
                as: UInt8.self,
                repeating: UInt8(truncatingIfNeeded: number),
                count: size
            )
            arrivals.append(
                tagCount: tag.count,
                count: size,
                slot: slot,
                sequence: UInt64(number),
                isReported: isReported
            )
        }
    }

    private func check(_ delivery: AMQPDelivery?, _ number: Int, _ size: Int) {
        #expect(delivery?.payload == ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: size))
        #expect(delivery?.tag == Array("\(number)".utf8))
        #expect(delivery?.isSettled == number.isMultiple(of: 3))
        guard let delivery, !delivery.isSettled else { return }
        let settlement = delivery.settlement(.accepted, of: self.settler.receiver)
        #expect(settlement.slot == SlotKey(bitPattern: UInt(number)) && settlement.sequence == UInt64(number))
    }

    @Test func messagesOfAllSizesAreDeliveredUnchanged() async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let limit = ArrivalChunk.smallLimit
        let sizes = (0..<2_000).map { _ in
            [0, 1, 100, limit, limit + 1, Int.random(in: 0...2 * limit, using: &random)].randomElement(using: &random)
                ?? 0
        }
        let inbox = self.makeInbox()
        let arrivals = Arrivals()
        var pushed = 0
        var taken = 0
        while taken < sizes.count {
            let count = min(Int.random(in: 0...200, using: &random), sizes.count - pushed)
            for number in pushed..<(pushed + count) { self.add(number, sizes[number], to: arrivals) }
            pushed += count
            #expect(arrivals.isEmpty == (count == 0))
            if count > 0 { inbox.push(arrivals.take()) }
            #expect(arrivals.isEmpty)
            #expect(inbox.count == pushed - taken)
            #expect(inbox.weight == sizes[taken..<pushed].reduce(0, +))
            #expect(inbox.peakWeight >= inbox.weight)
            let wanted = Int.random(in: 0...250, using: &random)
            let batch = inbox.poll(max: wanted)
            #expect(batch.count == min(wanted, pushed - taken))
            for delivery in batch {
                self.check(delivery, taken, sizes[taken])
                taken += 1
            }
            if let delivery = inbox.poll() {
                self.check(delivery, taken, sizes[taken])
                taken += 1
            }
        }
        #expect(inbox.weight == 0 && inbox.count == 0 && inbox.poll() == nil)
    }

    @Test func aChunkLivesWhileItsMessagesWaitAndNoDeliveryRetainsIt() throws {
        let inbox = self.makeInbox()
        let arrivals = Arrivals()
        for number in 0..<10 { self.add(number, 100, to: arrivals) }
        weak var chunk: ArrivalChunk?
        do {
            let batch = arrivals.take()
            chunk = batch.chunks.first
            inbox.push(batch)
        }
        let first = inbox.poll()
        let kept = inbox.poll(max: 8)
        #expect(chunk != nil)
        let last = inbox.poll()
        #expect(chunk == nil)
        self.check(first, 0, 100)
        for (index, delivery) in kept.enumerated() { self.check(delivery, index + 1, 100) }
        self.check(last, 9, 100)
    }

    @Test func aChunkIsNotLargerThanItsLimit() {
        let arrivals = Arrivals()
        let size = ArrivalChunk.smallLimit
        let count = 10 * ArrivalChunk.limit / size
        for number in 0..<count { self.add(number, size, to: arrivals) }
        let batch = arrivals.take()
        #expect(batch.chunks.reduce(0) { $0 + $1.count } == count)
        for chunk in batch.chunks { #expect(chunk.sums(0..<chunk.count).weight <= ArrivalChunk.limit) }
        #expect(batch.chunks.count >= 10)
    }

    @Test func takenMessagesAreReported() async throws {
        let reports = Mutex<[Int]>([])
        let inbox = self.makeInbox(reportEvery: 3) { count in reports.withLock { $0.append(count) } }
        let arrivals = Arrivals()
        for number in 1...7 { self.add(number, 5_000, to: arrivals, isReported: true) }
        for number in 8...9 { self.add(number, 10, to: arrivals) }
        inbox.push(arrivals.take())
        for _ in 0..<4 { _ = inbox.poll() }
        #expect(reports.withLock { $0 } == [3])
        #expect(inbox.poll(max: 5).count == 5)
        #expect(reports.withLock { $0 } == [3, 4])
    }

    @Test func waitsEndInOrderAndUnsettledMessagesCanBeRemoved() async throws {
        let inbox = self.makeInbox()
        let arrivals = Arrivals()
        let waits = (0..<3).map { _ in begin { try await inbox.next() } }
        waits[1].cancel()
        await expectError(.cancelled) { try await waits[1].value }
        for number in 1...7 { self.add(number, number * 1_000, to: arrivals) }
        inbox.push(arrivals.take())
        self.check(try await waits[0].value, 1, 1_000)
        self.check(try await waits[2].value, 2, 2_000)
        self.check(inbox.poll(), 3, 3_000)
        // The sender settled 6, and 5 has been settled in the meantime.
        #expect(inbox.removeUnsettled { $0 != SlotKey(bitPattern: 5) } == [4, 7].map { SlotKey(bitPattern: $0) })
        #expect(inbox.weight == 11_000 && inbox.count == 2)
        inbox.finish()
        self.check(inbox.poll(), 5, 5_000)
        self.check(try await inbox.next(), 6, 6_000)
        #expect(inbox.weight == 0 && inbox.count == 0)
        self.add(8, 10, to: arrivals)
        inbox.push(arrivals.take())
        #expect(try await inbox.next() == nil)
    }

    /// Removes the unsettled messages after a task has received some messages. The remaining messages are complete and
    /// in order, and are reported once.
    @Test func removingLeavesOtherMessagesUnchanged() async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let reported = Mutex(0)
            let inbox = self.makeInbox(reportEvery: 1) { count in reported.withLock { $0 += count } }
            let arrivals = Arrivals()
            let count = Int.random(in: 0...200, using: &random)
            let sizes = (0..<count).map { _ in Int.random(in: 0...6_000, using: &random) }
            for number in 0..<count {
                self.add(number, sizes[number], to: arrivals, isReported: number.isMultiple(of: 3))
                if Bool.random(using: &random) { inbox.push(arrivals.take()) }
            }
            inbox.push(arrivals.take())
            let taken = inbox.poll(max: Int.random(in: 0...count, using: &random)).count
            let removed = inbox.removeUnsettled { _ in true }
            let expected = (taken..<count).filter { !$0.isMultiple(of: 3) }
            #expect(removed == expected.map { SlotKey(bitPattern: UInt($0)) })
            for number in taken..<count where number.isMultiple(of: 3) {
                self.check(inbox.poll(), number, sizes[number])
            }
            #expect(inbox.poll() == nil && inbox.weight == 0)
            #expect(reported.withLock { $0 } == (0..<count).count { $0.isMultiple(of: 3) })
        }
    }

    @Test func manyTasksOnOneInboxLoseAndDoubleNothing() async throws {
        let inbox = self.makeInbox()
        let seen = Mutex<[Int]>([])
        let isOver = Mutex(false)
        let number = { @Sendable (delivery: AMQPDelivery) in Int(String(decoding: delivery.tag, as: UTF8.self)) ?? -1 }
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<6 {
                group.addTask { @Sendable in
                    while true {
                        let wait = Task { try await inbox.next() }
                        // Some waits are cancelled at any moment. A cancelled wait does not see the end.
                        if index % 2 == 0, !isOver.withLock({ $0 }) { wait.cancel() }
                        do {
                            guard let first = try await wait.value else { return }
                            let batch = [first] + inbox.poll(max: index)
                            // A batch is in order, and a task receives earlier messages before later ones.
                            let numbers = batch.map(number)
                            #expect(numbers == numbers.sorted())
                            for (number, delivery) in zip(numbers, batch) {
                                #expect(delivery.payload.readableBytes == number * 3)
                            }
                            seen.withLock { $0 += numbers }
                        } catch {
                            await Task.yield()
                        }
                    }
                }
            }
            let arrivals = Arrivals()
            for start in stride(from: 0, to: 3_000, by: 10) {
                for number in start..<start + 10 { self.add(number, number * 3, to: arrivals) }
                inbox.push(arrivals.take())
                if start % 100 == 0 { await Task.yield() }
            }
            isOver.withLock { $0 = true }
            inbox.finish()
        }
        #expect(seen.withLock { $0.sorted() } == Array(0..<3_000))
    }
}
