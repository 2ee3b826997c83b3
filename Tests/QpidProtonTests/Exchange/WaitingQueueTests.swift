// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// Weighted elements in order, for tasks that wait.
@Suite(.deadline)
struct WaitingQueueTests {
    private final class Reports: Sendable {
        let all = Mutex<[Int]>([])
        let isStarved = Atomic(false)
        var list: [Int] { self.all.withLock { $0 } }
    }

    private let reports = Reports()

    private func queue(reportEvery: Int = .max) -> WaitingQueue<Int> {
        let reports = self.reports
        return WaitingQueue(
            reportEvery: reportEvery,
            isStarved: { reports.isStarved.load(ordering: .relaxed) },
            report: { count in reports.all.withLock { $0.append(count) } }
        )
    }

    private func entries(_ numbers: ClosedRange<Int>, isReported: Bool = true) -> [WaitingQueue<Int>.Entry] {
        numbers.map { WaitingQueue.Entry(element: $0, weight: 10 * $0, isReported: isReported) }
    }

    @Test func weightFollowsTheElementsAndThePeakStays() {
        let queue = self.queue()
        #expect(queue.poll() == nil && queue.poll(max: 3) == [])
        queue.push(contentsOf: self.entries(1...4))
        #expect(queue.weight == 100 && queue.count == 4)
        #expect(queue.poll() == 1)
        #expect(queue.poll(max: 2) == [2, 3])
        #expect(queue.weight == 40 && queue.count == 1 && queue.peakWeight == 100)
        queue.push(contentsOf: self.entries(5...5))
        #expect(queue.removeAll() == [4, 5])
        #expect(queue.weight == 0 && queue.count == 0 && queue.peakWeight == 100 && queue.poll() == nil)
    }

    @Test func receivedElementsAreReportedInBatches() {
        let queue = self.queue(reportEvery: 3)
        queue.push(contentsOf: self.entries(1...2) + self.entries(3...5, isReported: false) + self.entries(6...9))
        for _ in 0..<5 { _ = queue.poll() }
        #expect(self.reports.list == [])
        #expect(queue.poll() == 6)
        #expect(self.reports.list == [3])
        // The queue reports elements together that one call has received.
        #expect(queue.poll(max: 9) == [7, 8, 9])
        #expect(self.reports.list == [3, 3])
        // Dropped elements do not count as received.
        queue.push(contentsOf: self.entries(1...9))
        #expect(queue.removeAll().count == 9)
        #expect(self.reports.list == [3, 3])
    }

    @Test func tasksResumeInOrder() async throws {
        let queue = self.queue(reportEvery: 2)
        let tasks = (0..<3).map { _ in begin { try await queue.next() } }
        #expect(queue.hasWaiters)
        queue.push(contentsOf: self.entries(1...2))
        #expect(try await tasks[0].value == 1)
        #expect(try await tasks[1].value == 2)
        #expect(!tasks[2].isDone && self.reports.list == [2] && queue.weight == 0)
        queue.push(contentsOf: self.entries(3...4))
        #expect(try await tasks[2].value == 3)
        #expect(!queue.hasWaiters && queue.count == 1)
    }

    @Test func aStarvedWaitReportsReceivedElementsAtOnce() async throws {
        let queue = self.queue(reportEvery: 10)
        queue.push(contentsOf: self.entries(1...2))
        #expect(queue.poll(max: 2) == [1, 2])
        self.reports.isStarved.store(true, ordering: .relaxed)
        let task = begin { try await queue.next() }
        #expect(self.reports.list == [2])
        queue.finish()
        #expect(try await task.value == nil)
    }

    @Test func theEndFollowsTheElementsAndTheFirstEndStays() async throws {
        let queue = self.queue()
        queue.push(contentsOf: self.entries(1...1))
        queue.finish(AMQPError(condition: .closed, detail: "first"))
        queue.finish()
        queue.push(contentsOf: self.entries(2...2))
        #expect(queue.count == 1)
        #expect(try await queue.next() == 1)
        for _ in 0..<2 {
            let error = await expectError(.closed) { try await queue.next() }
            #expect(error?.detail == "first")
        }
    }

    @Test func aCancelledTaskReceivesNoElement() async throws {
        let queue = self.queue()
        let waiting = begin { try await queue.next() }
        waiting.cancel()
        await expectError(.cancelled) { try await waiting.value }
        queue.push(contentsOf: self.entries(1...1))
        let late = begin {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await queue.next()
        }
        await expectError(.cancelled) { try await late.value }
        #expect(queue.poll() == 1)
    }

    @Test func oneWaitCanBeEndedByItsName() async throws {
        let queue = self.queue()
        let ids = [queue.makeWaitID(), queue.makeWaitID()]
        let tasks = ids.map { id in begin { try await queue.next(id: id) } }
        #expect(queue.isWaiting(ids[0]) && queue.isWaiting(ids[1]))
        queue.endWait(ids[0], .success(nil))
        #expect(try await tasks[0].value == nil)
        #expect(!queue.isWaiting(ids[0]) && queue.isWaiting(ids[1]))
        queue.endWait(ids[0], .success(9))
        queue.push(contentsOf: self.entries(5...5))
        #expect(try await tasks[1].value == 5)
    }
}
