// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// The outcomes of messages: one task waits in the slot of its message, further tasks wait in a list.
@Suite(.deadline)
struct OutcomeTests {
    private static let refused = AMQPError(condition: .notAllowed, detail: "refused")
    private static let answers: [OutcomeBlock.Answer] = [
        .success(.accepted), .success(.settled), .success(.released), .success(.rejected(nil)), .failure(refused),
    ]

    private func isEqual(_ left: OutcomeBlock.Answer, _ right: OutcomeBlock.Answer) -> Bool {
        switch (left, right) {
        case (.success(let left), .success(let right)): left == right
        case (.failure(let left), .failure(let right)): left == right
        default: false
        }
    }

    @Test(arguments: answers)
    func eachOfSeveralTasksReceivesTheAnswer(_ answer: OutcomeBlock.Answer) async throws {
        for count in 0...4 {
            var source = OutcomeSource()
            let (promise, reply) = source.next()
            let waiting = (0..<count).map { _ in begin { await Self.result(of: reply) } }
            promise.resolve(answer)
            for task in waiting { #expect(self.isEqual(try await task.value, answer)) }
            #expect(reply.answer.map { self.isEqual($0, answer) } == true)
            source.close()
        }
    }

    @Test func aCancelledTaskLeavesTheAnswerForOthers() async throws {
        var source = OutcomeSource()
        let (promise, reply) = source.next()
        let first = begin { await Self.result(of: reply) }
        first.cancel()
        #expect(self.isEqual(try await first.value, .failure(.cancelled)))
        let second = begin { await Self.result(of: reply) }
        promise.resolve(.success(.accepted))
        #expect(self.isEqual(try await second.value, .success(.accepted)))
        source.close()
    }

    @Test func aFailureThatATaskWaitsForIsRead() async throws {
        var source = OutcomeSource()
        let unread = UnreadFailures()
        let failure = UnreadFailure(counts: [unread], isInDoubt: false)
        let (noticed, reply) = source.next()
        // The task waits when `begin` returns.
        let waiting = begin { await Self.result(of: reply) }
        noticed.fail(Self.refused, unread: failure)
        #expect(self.isEqual(try await waiting.value, .failure(Self.refused)))
        #expect(unread.notSent.load(ordering: .relaxed) == 0)
        let (unnoticed, late) = source.next()
        unnoticed.fail(Self.refused, unread: failure)
        #expect(unread.notSent.load(ordering: .relaxed) == 1)
        #expect(late.answer.map { self.isEqual($0, .failure(Self.refused)) } == true)
        #expect(unread.notSent.load(ordering: .relaxed) == 0)
        source.close()
    }

    /// Tasks wait, are cancelled and receive their answers on several threads at the same time. Each task receives one
    /// answer: its own cancellation or the outcome of the message.
    @Test func waitsCancellationsAndAnswersMeet() async {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<2_000 {
            var source = OutcomeSource()
            let (promise, reply) = source.next()
            let answer = Self.answers[Int.random(in: 0..<Self.answers.count, using: &random)]
            let count = Int.random(in: 1...3, using: &random)
            let cancelled = (0..<count).map { _ in Bool.random(using: &random) }
            let isLate = Bool.random(using: &random)
            let waiting = (0..<count).map { _ in Task { await Self.result(of: reply) } }
            if isLate { await Task.yield() }
            async let resolving: Void = Task.detached { promise.resolve(answer) }.value
            for (task, isCancelled) in zip(waiting, cancelled) where isCancelled { task.cancel() }
            for (task, isCancelled) in zip(waiting, cancelled) {
                let result = await task.value
                let isExpected =
                    self.isEqual(result, answer) || isCancelled && self.isEqual(result, .failure(.cancelled))
                #expect(isExpected, "round \(round), QPID_PROTON_SEED=\(seed): \(result) in place of \(answer)")
            }
            await resolving
            source.close()
        }
    }

    private static func result(of reply: OutcomeReply) async -> OutcomeBlock.Answer {
        do throws(AMQPError) { return .success(try await reply.value()) } catch { return .failure(error) }
    }
}
