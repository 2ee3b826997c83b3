// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import Testing

@testable import QpidProton

/// The meeting points of tasks and the loop: inboxes, replies and observed numbers.
@Suite(.deadline)
struct WaitingTests {
    private func entries(_ numbers: [Int], isReported: Bool = false) -> [WaitingQueue<Int>.Entry] {
        numbers.map { .init(element: $0, weight: $0, isReported: isReported) }
    }

    @Test func anInboxKeepsOrderAndWeight() async throws {
        let inbox = WaitingQueue<Int>()
        inbox.push(contentsOf: self.entries([1, 2, 3]))
        #expect(inbox.weight == 6 && inbox.count == 3 && inbox.peakWeight == 6)
        #expect(try await inbox.next() == 1)
        #expect(inbox.poll() == 2)
        inbox.push(contentsOf: self.entries([4, 5, 6]))
        #expect(inbox.poll(max: 2) == [3, 4])
        #expect(inbox.poll(max: 0) == [])
        #expect(inbox.removeAll() == [5, 6])
        #expect(inbox.weight == 0)
        #expect(inbox.poll() == nil)
        #expect(inbox.peakWeight == 18)
    }

    @Test func theEndFollowsTheElementsAndIsTheSameForAll() async throws {
        let inbox = WaitingQueue<Int>()
        inbox.push(contentsOf: self.entries([1]))
        inbox.finish(AMQPError(scope: .link, condition: "x:end"))
        inbox.finish(nil)
        inbox.push(contentsOf: self.entries([2]))
        #expect(try await inbox.next() == 1)
        for _ in 0..<3 { await expectError("x:end") { try await inbox.next() } }
        #expect(inbox.poll() == nil)
        let other = WaitingQueue<Int>()
        let waits = (0..<3).map { _ in begin { try await other.next() } }
        other.finish(AMQPError(scope: .link, condition: "x:end"))
        for wait in waits { await expectError("x:end") { try await wait.value } }
        await expectError("x:end") { try await other.next() }
        let last = WaitingQueue<Int>()
        last.finish()
        for _ in 0..<3 { #expect(try await last.next() == nil) }
    }

    @Test func waitingTasksResumeInOrder() async throws {
        let inbox = WaitingQueue<Int>()
        let waits = (0..<4).map { _ in begin { try await inbox.next() } }
        waits[1].cancel()
        await expectError(.cancelled) { try await waits[1].value }
        inbox.push(contentsOf: self.entries([10, 20]))
        #expect(try await waits[0].value == 10)
        #expect(try await waits[2].value == 20)
        inbox.finish()
        #expect(try await waits[3].value == nil)
        #expect(inbox.weight == 0)
    }

    @Test func oneWaitCanBeEnded() async throws {
        let inbox = WaitingQueue<Int>()
        let id = inbox.makeWaitID()
        let wait = begin { try await inbox.next(id: id) }
        #expect(inbox.isWaiting(id))
        inbox.endWait(id + 1, .success(nil))
        #expect(inbox.isWaiting(id))
        inbox.endWait(id, .success(nil))
        #expect(try await wait.value == nil)
        #expect(!inbox.isWaiting(id))
        inbox.push(contentsOf: self.entries([1]))
        #expect(try await inbox.next() == 1)
    }

    @Test func takenElementsAreReported() async throws {
        let reports = Mutex<[Int]>([])
        let inbox = WaitingQueue<Int>(reportEvery: 3, report: { count in reports.withLock { $0.append(count) } })
        inbox.push(contentsOf: self.entries(Array(1...7), isReported: true) + self.entries([8, 9]))
        for _ in 0..<4 { _ = inbox.poll() }
        #expect(reports.withLock { $0 } == [3])
        _ = inbox.poll(max: 5)
        #expect(reports.withLock { $0 } == [3, 4])
        let wait = begin { try await inbox.next() }
        inbox.push(contentsOf: self.entries([1, 2, 3], isReported: true))
        _ = try await wait.value
        _ = inbox.poll(max: 2)
        #expect(reports.withLock { $0 } == [3, 4, 3])
    }

    @Test func aStarvedWaitReportsAtOnce() async throws {
        let reports = Mutex<[Int]>([])
        let inbox = WaitingQueue<Int>(
            reportEvery: 100,
            isStarved: { true },
            report: { count in reports.withLock { $0.append(count) } }
        )
        inbox.push(contentsOf: self.entries([1, 2], isReported: true))
        _ = inbox.poll(max: 2)
        let wait = begin { try await inbox.next() }
        #expect(reports.withLock { $0 } == [2])
        wait.cancel()
        await expectError(.cancelled) { try await wait.value }
    }

    @Test func manyTasksOnOneInboxLoseAndDoubleNothing() async throws {
        let inbox = WaitingQueue<Int>()
        let seen = Mutex<[Int]>([])
        let isOver = Mutex(false)
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<8 {
                group.addTask { @Sendable in
                    while true {
                        let wait = Task { try await inbox.next() }
                        // Some waits are cancelled at any moment. A cancelled wait does not see the end.
                        if index % 2 == 0, !isOver.withLock({ $0 }) { wait.cancel() }
                        do {
                            guard let number = try await wait.value else { return }
                            seen.withLock { $0.append(number) }
                        } catch {
                            await Task.yield()
                        }
                    }
                }
            }
            for start in stride(from: 0, to: 2_000, by: 10) {
                inbox.push(contentsOf: self.entries(Array(start..<start + 10)))
                if start % 100 == 0 { await Task.yield() }
            }
            isOver.withLock { $0 = true }
            inbox.finish()
        }
        #expect(seen.withLock { $0.sorted() } == Array(0..<2_000))
    }

    @Test func aReplyAnswersOnceAndAll() async throws {
        let reply = Reply<Int>()
        let calls = Mutex<[Int]>([])
        reply.whenResolved { answer in calls.withLock { $0.append((try? answer.get()) ?? -1) } }
        let waits = (0..<3).map { _ in begin { try await reply.value() } }
        waits[0].cancel()
        await expectError(.cancelled) { try await waits[0].value }
        #expect(reply.resolve(.success(5)))
        #expect(!reply.resolve(.failure(.cancelled)))
        for wait in waits.dropFirst() { #expect(try await wait.value == 5) }
        reply.whenResolved { answer in calls.withLock { $0.append((try? answer.get()) ?? -1) } }
        #expect(calls.withLock { $0 } == [5, 5])
        #expect(try await reply.value() == 5)
        // A cancelled task waits for the reply too.
        let late = begin {
            while !Task.isCancelled { await Task.yield() }
            return try await reply.value()
        }
        late.cancel()
        #expect(try await late.value == 5)
    }

    @Test func aTransferAnswersEachWaiter() async throws {
        var outcomes = OutcomeSource()
        let (promise, reply) = outcomes.next()
        outcomes.close()
        let transfer = AMQPTracker(reply)
        #expect(transfer.result == nil)
        let waits = (0..<5).map { _ in begin { try await transfer.outcome() } }
        waits[4].cancel()
        waits[2].cancel()
        await expectError(.cancelled) { try await waits[2].value }
        await expectError(.cancelled) { try await waits[4].value }
        promise.resolve(.success(.released))
        for index in [0, 1, 3] { #expect(try await waits[index].value == .released) }
        #expect(transfer.result == .success(.released))
    }

    @Test func aWatchedNumberWakesOnChange() async throws {
        let watched = ObservedValue()
        #expect(try await watched.value(after: 7) == 0)
        let wait = begin { try await watched.value(after: 0) }
        let cancelled = begin { try await watched.value(after: 0) }
        cancelled.cancel()
        await expectError(.cancelled) { try await cancelled.value }
        watched.set(0)
        #expect(!wait.isDone)
        watched.set(3)
        #expect(try await wait.value == 3)
        let end = begin { try await watched.value(after: 3) }
        watched.end(AMQPError(scope: .link, condition: "x:end"))
        watched.end(AMQPError(scope: .link, condition: "x:other"))
        await expectError("x:end") { try await end.value }
        await expectError("x:end") { try await watched.value(after: 100) }
        #expect(watched.value == 3)
    }

    @Test func theHeaderIsCheckedInPieces() {
        let header: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0]
        for split in 0...8 {
            var check = HeaderCheck()
            #expect(check.check(ByteBuffer(bytes: header[..<split])) == nil)
            #expect(check.check(ByteBuffer(bytes: header[split...] + [1, 2, 3])) == nil)
            #expect(check.check(ByteBuffer(bytes: [9, 9, 9])) == nil)
        }
        for index in header.indices {
            var wrong = header
            wrong[index] ^= 3
            var check = HeaderCheck()
            #expect(check.check(ByteBuffer(bytes: wrong))?.condition == .connectionFramingError)
        }
    }
}
