// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// Blocks of outcomes: their names, their lifetime, and failures that count until they are read.
@Suite(.deadline)
struct OutcomeBlockTests {
    private static let refused = AMQPError(condition: .notAllowed, detail: "refused")

    @Test func aBlockHoldsALimitedNumberOfOutcomes() {
        var source = OutcomeSource()
        let outcomes = (0...OutcomeBlock.capacity).map { _ in source.next() }
        source.close()
        let blocks = outcomes.map { ObjectIdentifier($0.reply.block) }
        #expect(Set(blocks.dropLast()).count == 1 && blocks.last != blocks.first)
        #expect(Set(outcomes.map(\.reply)).count == outcomes.count)
        #expect(Set(outcomes.map(\.promise.number)).count == outcomes.count)
        for outcome in outcomes { outcome.promise.resolve(.success(.accepted)) }
        #expect(outcomes.allSatisfy { $0.reply.answer == .success(.accepted) })
    }

    @Test func thePromiseIsFoundByItsPointer() {
        var source = OutcomeSource()
        let (one, other) = (source.next(), source.next())
        #expect(OutcomePromise(pointer: other.promise.pointer).reply == other.reply)
        #expect(one.promise.belongs(to: one.reply) && !one.promise.belongs(to: other.reply))
        #expect(one.promise.reply == one.reply && one.reply != other.reply)
        for outcome in [one, other] { outcome.promise.resolve(.success(.released)) }
        source.close()
    }

    @Test func aBlockIsFreedWithItsLastPromiseAndReply() {
        weak var gone: OutcomeBlock?
        var promises: [OutcomePromise] = []
        do {
            var source = OutcomeSource()
            for _ in 0..<2 {
                let (promise, reply) = source.next()
                promises.append(promise)
                gone = reply.block
            }
            promises[0].resolve(.success(.accepted))
            #expect(gone != nil)
            source.close()
        }
        // Only the promise holds the block now.
        #expect(gone != nil)
        var reply: OutcomeReply? = promises[1].reply
        promises[1].resolve(.success(.rejected(Self.refused)))
        #expect(gone != nil && reply?.answer == .success(.rejected(Self.refused)))
        reply = nil
        #expect(gone == nil)
    }

    /// The answers that are a state of their own, and those that are stored beside the state.
    @Test(arguments: [
        OutcomeBlock.Answer.success(.accepted), .success(.settled), .success(.released), .success(.rejected(nil)),
        .success(.rejected(refused)), .success(.modified(AMQPModified(deliveryFailed: true))), .failure(refused),
    ])
    func everyAnswerIsStoredUnchanged(_ answer: OutcomeBlock.Answer) {
        var source = OutcomeSource()
        let (one, other) = (source.next(), source.next())
        source.close()
        #expect(one.reply.answer == nil)
        one.promise.resolve(answer)
        #expect(one.reply.answer == answer && other.reply.answer == nil)
        other.promise.resolve(.success(.accepted))
    }

    @Test func aFailureIsCountedUntilItIsReadOnce() {
        var source = OutcomeSource()
        let unread = UnreadFailures()
        let failure = UnreadFailure(counts: [unread], isInDoubt: true)
        var counts: [Int] { [unread.inDoubt.load(ordering: .relaxed), unread.notSent.load(ordering: .relaxed)] }
        let outcomes = (0..<3).map { _ in source.next() }
        source.close()
        outcomes[0].promise.fail(Self.refused, unread: failure)
        outcomes[1].promise.fail(Self.refused, unread: failure)
        #expect(counts == [2, 0])
        for _ in 0..<2 { #expect(outcomes[0].reply.answer == .failure(Self.refused)) }
        #expect(counts == [1, 0])
        // A callback reads the failure as well, whether it was added before the failure or after it.
        outcomes[1].reply.whenResolved { _ in }
        outcomes[2].reply.whenResolved { _ in }
        outcomes[2].promise.fail(Self.refused, unread: failure)
        #expect(counts == [0, 0])
    }

    @Test func aCallbackAndATaskBothGetTheAnswer() async throws {
        var source = OutcomeSource()
        let (promise, reply) = source.next()
        source.close()
        let task = begin { try await reply.value() }
        let called = Reply<AMQPOutcome>()
        reply.whenResolved { called.resolve($0) }
        #expect(!task.isDone && called.answer == nil)
        promise.resolve(.success(.released))
        #expect(try await task.value == .released)
        #expect(called.answer == .success(.released))
    }
}
