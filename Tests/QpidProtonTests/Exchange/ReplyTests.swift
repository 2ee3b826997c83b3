// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// One answer that arrives once, and all tasks and callbacks that wait for it.
@Suite(.deadline)
struct ReplyTests {
    private static let refused = AMQPError(condition: .notAllowed, detail: "refused")
    private let reply = Reply<Int>()

    private final class Calls: Sendable {
        let all = Mutex<[Result<Int, AMQPError>]>([])
        var list: [Result<Int, AMQPError>] { self.all.withLock { $0 } }
        func add(_ answer: Result<Int, AMQPError>) { self.all.withLock { $0.append(answer) } }
    }

    private func wait() -> Begun<Int> { begin { [reply] in try await reply.value() } }

    @Test func theFirstAnswerStays() async throws {
        #expect(self.reply.answer == nil)
        #expect(self.reply.resolve(.success(1)))
        #expect(!self.reply.resolve(.success(2)))
        #expect(!self.reply.resolve(.failure(Self.refused)))
        #expect(self.reply.answer == .success(1))
        #expect(try await self.reply.value() == 1)
    }

    @Test func tasksAndCallbacksGetTheAnswerOnceEach() async throws {
        let calls = Calls()
        let tasks = [self.wait(), self.wait()]
        self.reply.whenResolved { calls.add($0) }
        #expect(calls.list.isEmpty && tasks.allSatisfy { !$0.isDone })
        self.reply.resolve(.failure(Self.refused))
        self.reply.resolve(.success(1))
        #expect(calls.list == [.failure(Self.refused)])
        for task in tasks {
            let error = await expectError(.notAllowed) { try await task.value }
            #expect(error == Self.refused)
        }
        // A later callback runs at once.
        self.reply.whenResolved { calls.add($0) }
        #expect(calls.list.count == 2)
    }

    @Test func aCancelledTaskLeavesAndTheAnswerStaysOpen() async throws {
        let tasks = [self.wait(), self.wait()]
        tasks[0].cancel()
        await expectError(.cancelled) { try await tasks[0].value }
        #expect(self.reply.answer == nil && !tasks[1].isDone)
        self.reply.resolve(.success(4))
        #expect(try await tasks[1].value == 4)
    }

    @Test func aTaskThatIsCancelledAlreadyDoesNotBeginToWait() async throws {
        let task = begin { [reply] in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await reply.value()
        }
        await expectError(.cancelled) { try await task.value }
    }

    @Test func aCancelledTaskReceivesAnAvailableAnswer() async throws {
        self.reply.resolve(.success(6))
        let task = begin { [reply] in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await reply.value()
        }
        #expect(try await task.value == 6)
    }

    @Test func theFinalAnswerIsWaitedForByACancelledTaskToo() async throws {
        let task = begin { [reply] in await reply.finalAnswer() }
        task.cancel()
        await Task.yield()
        #expect(!task.isDone)
        self.reply.resolve(.success(8))
        #expect(try await task.value == .success(8))
    }

    @Test func waitersHaveDistinctNamesAndCallbacksHaveNone() {
        let names = (0..<3).map { _ in self.reply.makeID() }
        #expect(Set(names).count == 3 && !names.contains(0))
        var state = ReplyState<Int>()
        #expect(state.wait(.callback { _ in }, 0) == nil)
        #expect(state.resolve(.success(1)) != nil)
        #expect(state.resolve(.success(2)) == nil)
        #expect(state.wait(.callback { _ in }, 0) == .success(1))
    }

    @Test func theEndOfASessionHasACauseInEitherWay() {
        let closed = AMQPError(scope: .session, condition: .closed, detail: "in order")
        let ends = [EndReply(), EndReply(), EndReply()]
        ends[1].resolve(.success(closed))
        ends[2].resolve(.failure(Self.refused))
        #expect(ends.map(\.cause) == [nil, closed, Self.refused])
    }
}
