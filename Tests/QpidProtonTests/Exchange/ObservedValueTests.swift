// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// A number whose next change tasks wait for.
@Suite(.deadline)
struct ObservedValueTests {
    private static let end = AMQPError(scope: .link, condition: .closed, detail: "first")
    private let observed = ObservedValue()

    private func wait(after known: Int) -> Begun<Int> {
        begin { [observed] in try await observed.value(after: known) }
    }

    @Test func anEarlierChangeIsReturnedAtOnce() async throws {
        self.observed.set(3)
        #expect(try await self.observed.value(after: 0) == 3)
    }

    @Test func everyWaitingTaskReceivesTheNextChange() async throws {
        let waiting = (0..<3).map { _ in self.wait(after: 0) }
        #expect(waiting.allSatisfy { !$0.isDone })
        self.observed.set(7)
        for task in waiting { #expect(try await task.value == 7) }
        // A smaller value is a change too.
        let next = self.wait(after: 7)
        self.observed.set(0)
        #expect(try await next.value == 0)
        #expect(self.observed.value == 0)
    }

    @Test func anUnchangedValueWakesNoTask() async throws {
        self.observed.set(5)
        let waiting = self.wait(after: 5)
        self.observed.set(5)
        await Task.yield()
        #expect(!waiting.isDone)
        self.observed.set(6)
        #expect(try await waiting.value == 6)
    }

    @Test func theFirstEndReachesWaitingAndLaterTasks() async throws {
        let waiting = self.wait(after: 0)
        self.observed.end(Self.end)
        self.observed.end(AMQPError(condition: .internalError, detail: "second"))
        let later = self.wait(after: 0)
        for task in [waiting, later] {
            let error = await expectError(.closed) { try await task.value }
            #expect(error == Self.end)
        }
        // A later task receives the error even if it waits for a change of a different value.
        await expectError(.closed) { try await self.wait(after: 99).value }
    }

    @Test func aCancelledTaskLeavesTheOthersWaiting() async throws {
        let waiting = (0..<2).map { _ in self.wait(after: 0) }
        waiting[0].cancel()
        await expectError(.cancelled) { try await waiting[0].value }
        #expect(!waiting[1].isDone)
        self.observed.set(1)
        #expect(try await waiting[1].value == 1)
    }
}
