// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// The answers of links about messages that outlive the links: the holder decides which answers resolve the trackers.
@Suite struct OutcomeOwnerTests {
    private final class Holder: Sendable {
        let answers = Mutex<[[TrackerSource.Answer]]>([])
        var places: [[Int]] { self.answers.withLock { $0.map { $0.map(\.promise.place) } } }

        func makeSource() -> TrackerSource {
            TrackerSource { answers in self.answers.withLock { $0.append(answers) } }
        }
    }

    private let holder = Holder()

    private func promise(_ source: inout TrackerSource, at place: Int) -> TrackerPromise {
        let promise = source.next()
        promise.place = place
        return promise
    }

    @Test func anAnswerOfALinkReachesTheHolderAndNotTheTracker() throws {
        var source = self.holder.makeSource()
        let promise = self.promise(&source, at: 70_000)
        let tracker = promise.tracker
        promise.promise.resolve(.success(.accepted))
        promise.promise.fail(.senderClosed, unread: nil)
        #expect(self.holder.places == [[70_000], [70_000]] && tracker.result == nil)
        promise.attempts = 2
        promise.resolve(.success(.released))
        #expect(try tracker.result?.get() == .released && tracker.reply.attempts == 2)
        #expect(self.holder.places.count == 2)
        source.close()
    }

    @Test func aFailureThatTheHolderReceivesDoesNotCountAsUnread() {
        var source = self.holder.makeSource()
        let promise = self.promise(&source, at: 1)
        let counts = UnreadFailures()
        promise.promise.fail(.senderClosed, unread: UnreadFailure(counts: [counts], isInDoubt: true))
        #expect(counts.inDoubt.load(ordering: .relaxed) == 0)
        promise.resolve(.failure(.senderClosed))
        source.close()
    }

    @Test func theAnswersOfATurnAreReportedTogether() throws {
        var (first, second) = (self.holder.makeSource(), self.holder.makeSource())
        let answers = OwnedAnswers()
        answers.report()
        #expect(self.holder.places == [])
        var promises: [TrackerPromise] = []
        for place in 0..<3 {
            let promise = self.promise(&first, at: place)
            let owner = try #require(promise.promise.owner)
            answers.add(.success(.accepted), for: promise.promise, of: owner)
            promises.append(promise)
        }
        #expect(self.holder.places == [])
        // The answers of another holder wait until these are reported.
        let other = self.promise(&second, at: 9)
        answers.add(.success(.accepted), for: other.promise, of: try #require(other.promise.owner))
        #expect(self.holder.places == [[0, 1, 2]])
        answers.report()
        answers.report()
        #expect(self.holder.places == [[0, 1, 2], [9]])
        for promise in promises + [other] { promise.resolve(.success(.accepted)) }
        first.close()
        second.close()
    }

    @Test func aPromiseReleasesTheBytesThatItsHolderKeeps() throws {
        var source = self.holder.makeSource()
        let unused = source.next()
        source.putBack(unused)
        let promise = source.next()
        #expect(promise == unused && promise.kept == nil)
        weak var chunk: MessageChunk?
        do {
            let made = MessageChunk.make(capacity: 100)
            chunk = made
            _ = made.uses.close(after: 1)
            promise.kept = KeptMessage(bytes: MessageBytes(made, 0..<10), number: 7, isSettled: false)
        }
        #expect(promise.kept?.number == 7 && chunk != nil)
        promise.resolve(.success(.accepted))
        #expect(chunk == nil)
        source.putBack(source.next())
        source.close()
    }

    @Test func aPlainMessageHasNoHolder() {
        var source = OutcomeSource()
        let (promise, reply) = source.next()
        #expect(promise.owner == nil)
        promise.resolve(.success(.accepted))
        #expect((try? reply.answer?.get()) == .accepted)
        source.close()
    }
}
