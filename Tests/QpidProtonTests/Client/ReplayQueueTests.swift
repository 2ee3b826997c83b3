// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// What becomes of a sender's messages when links are lost, case by case.
struct ReplayQueueTests {
    typealias Queue = ReplayQueue<String>

    /// Hands over all that waits, and returns the keys.
    private func takeAll(_ queue: inout Queue, at now: Duration = .zero) -> [Queue.Key] {
        var keys: [Queue.Key] = []
        while let next = queue.next(at: now) { keys.append(next.key) }
        return keys
    }

    private func names(_ keys: [Queue.Key], in queue: Queue) -> [String] {
        keys.compactMap { queue.entry($0)?.content }
    }

    private func queue(_ names: String..., limits: Queue.Limits = .init()) -> Queue {
        var queue = Queue(limits)
        for name in names { _ = queue.accept(name, bytes: 10) }
        return queue
    }

    @Test func messagesLeaveInOrder() {
        var queue = self.queue("a", "b")
        #expect(queue.next(at: .zero) == nil, "without a link nothing leaves")
        queue.begin()
        let keys = self.takeAll(&queue)
        #expect(self.names(keys, in: queue) == ["a", "b"])
        #expect(queue.counts.inFlight == 2 && queue.counts.addUp)
        _ = queue.accept("c", bytes: 10)
        #expect(self.names(self.takeAll(&queue), in: queue) == ["c"])
    }

    @Test func aMessageThatTheLinkAcceptsAtOnceHasNoPlaceUntilItReturns() {
        var queue = Queue()
        #expect(!queue.isPassable, "there is no link")
        queue.begin()
        let first = queue.acceptOnLink(bytes: 10)
        let second = queue.acceptOnLink(bytes: 20)
        #expect(queue.count == 2 && queue.used == 30 + 2 * Queue.overhead && !queue.hasNext)
        queue.settleOnLink(bytes: 10, .accepted)
        #expect(queue.counts.accepted == 1 && queue.used == 20 + Queue.overhead && queue.counts.addUp)
        let third = queue.acceptOnLink(bytes: 30)
        _ = queue.accept("d", bytes: 40)
        #expect(!queue.isPassable, "a message would overtake another that waits")
        // The link reports its messages out of order, and after a newer message.
        let places = [(third, "c", 30), (second, "b", 20)].map { sequence, name, bytes in
            queue.returnFromLink(name, sequence: sequence, bytes: bytes, isSettled: false)
        }
        for place in places { queue.comeBack(place, .inDoubt) }
        #expect(queue.doubtful == 2 && queue.counts.addUp && first < second)
        queue.begin()
        #expect(self.names(self.takeAll(&queue), in: queue) == ["b", "c", "d"])
    }

    @Test func theLastOutcomeOnALinkCompletesItsLoss() {
        var queue = Queue(.init(bytes: 10_000, replays: true, poison: 1))
        queue.begin()
        let (first, _) = (queue.acceptOnLink(bytes: 10), queue.acceptOnLink(bytes: 20))
        queue.comeBack(queue.returnFromLink("a", sequence: first, bytes: 10, isSettled: false), .inDoubt)
        queue.end()
        #expect(queue.takeFinished().isEmpty, "an answer is missing")
        queue.settleOnLink(bytes: 20, .accepted)
        #expect(queue.takeFinished().map(\.entry.content) == ["a"])
    }

    @Test func roomIsAmpleWhenAnEighthOfTheLimitIsFree() {
        let charge = 10 + Queue.overhead
        var queue = self.queue(limits: .init(bytes: 16 * charge))
        queue.begin()
        for number in 0..<16 { _ = queue.accept("\(number)", bytes: 10) }
        #expect(!queue.hasRoom(for: 10) && !queue.hasAmpleRoom && queue.hasNext)
        let keys = self.takeAll(&queue)
        #expect(!queue.hasNext)
        _ = queue.settle(keys[0], .accepted)
        #expect(queue.hasRoom(for: 10) && !queue.hasAmpleRoom)
        _ = queue.settle(keys[1], .accepted)
        #expect(queue.hasAmpleRoom)
    }

    @Test func aShortListKeepsItsOrder() {
        var list = FewElements<Int>()
        var seen: [Int] = []
        list.forEach { seen.append($0) }
        #expect(seen == [])
        for number in 1...3 { list.append(number) }
        list.forEach { seen.append($0) }
        #expect(seen == [1, 2, 3])
    }

    @Test func aLossReplaysWhatIsInDoubtFirst() {
        var queue = self.queue("a", "b", "c", "d")
        queue.begin()
        let keys = self.takeAll(&queue)
        #expect(queue.settle(keys[1], .accepted)?.content == "b")
        queue.comeBack(keys[0], .inDoubt)
        queue.comeBack(keys[3], .notSent)
        #expect(!queue.isAnswered && queue.next(at: .zero) == nil)
        queue.comeBack(keys[2], .aborted)
        _ = queue.accept("e", bytes: 10)
        #expect(queue.isAnswered && queue.doubtful == 1)
        queue.begin()
        let again = self.takeAll(&queue)
        #expect(self.names(again, in: queue) == ["a", "c", "d", "e"])
        #expect(again.map { queue.entry($0)?.attempts } == [2, 1, 1, 1])
        #expect(queue.counts.addUp && queue.counts.accepted == 1 && queue.doubtful == 0)
    }

    @Test func anOutcomeAfterTheFirstFailureCounts() {
        var queue = self.queue("a", "b")
        queue.begin()
        let keys = self.takeAll(&queue)
        queue.comeBack(keys[0], .inDoubt)
        _ = queue.settle(keys[1], .accepted)
        queue.begin()
        #expect(self.names(self.takeAll(&queue), in: queue) == ["a"])
    }

    @Test func withoutReplayMessagesInDoubtFail() {
        var limits = Queue.Limits()
        limits.replays = false
        var queue = self.queue("a", "b", limits: limits)
        queue.begin()
        let keys = self.takeAll(&queue)
        queue.comeBack(keys[0], .inDoubt)
        queue.comeBack(keys[1], .notSent)
        let finished = queue.takeFinished()
        #expect(finished.map(\.entry.content) == ["a"] && finished[0].fate == .inDoubt && finished[0].cause == .lost)
        queue.begin()
        #expect(self.names(self.takeAll(&queue), in: queue) == ["b"])
        #expect(queue.counts.inDoubt == 1 && queue.counts.addUp)
    }

    @Test func settledMessagesAreSentAgainOnlyIfTheyHaveNotLeft() {
        var queue = Queue()
        _ = queue.accept("a", bytes: 1, isSettled: true)
        _ = queue.accept("b", bytes: 1, isSettled: true)
        queue.begin()
        let keys = self.takeAll(&queue)
        queue.comeBack(keys[0], .inDoubt)
        queue.comeBack(keys[1], .notSent)
        #expect(queue.takeFinished().map(\.entry.content) == ["a"])
        queue.begin()
        #expect(self.names(self.takeAll(&queue), in: queue) == ["b"])
    }

    @Test func aMessageAtTheHeadOfThreeLossesIsNotSentAgain() {
        var queue = self.queue("poison", "b", "c")
        for loss in 1...3 {
            queue.begin()
            for key in self.takeAll(&queue) { queue.comeBack(key, .inDoubt) }
            #expect(queue.count == (loss < 3 ? 3 : 2))
        }
        let finished = queue.takeFinished()
        #expect(finished.map(\.entry.content) == ["poison"] && finished[0].cause == .poison(losses: 3))
        #expect(finished[0].fate == .inDoubt && finished[0].entry.attempts == 3)
        queue.begin()
        let rest = self.takeAll(&queue)
        #expect(self.names(rest, in: queue) == ["b", "c"])
        // The next head begins its own row.
        for key in rest { queue.comeBack(key, .inDoubt) }
        #expect(queue.count == 2)
    }

    @Test func aLossWithoutAMessageInDoubtDoesNotCount() {
        var queue = self.queue("a")
        for _ in 0..<10 {
            queue.begin()
            let keys = self.takeAll(&queue)
            for key in keys { queue.comeBack(key, .notSent) }
            queue.begin()
            queue.end()
        }
        #expect(queue.count == 1 && queue.takeFinished().isEmpty)
    }

    @Test func anotherHeadBreaksTheRow() {
        var queue = self.queue("a", "b")
        for _ in 0..<2 {
            queue.begin()
            for key in self.takeAll(&queue) { queue.comeBack(key, .inDoubt) }
        }
        queue.begin()
        let keys = self.takeAll(&queue)
        _ = queue.settle(keys[0], .accepted)
        queue.comeBack(keys[1], .inDoubt)
        #expect(queue.count == 1 && queue.takeFinished().isEmpty)
    }

    @Test func bytesCountUntilAMessageIsSettled() {
        var limits = Queue.Limits()
        limits.bytes = 2 * (10 + Queue.overhead)
        var queue = Queue(limits)
        #expect(queue.hasRoom(for: 1_000_000), "a message that is too large fits alone")
        _ = queue.accept("a", bytes: 10)
        #expect(queue.hasRoom(for: 10))
        _ = queue.accept("b", bytes: 10)
        #expect(!queue.hasRoom(for: 0) && queue.used == limits.bytes)
        queue.begin()
        let keys = self.takeAll(&queue)
        #expect(!queue.hasRoom(for: 10), "a message in flight keeps its bytes")
        _ = queue.settle(keys[1], .released)
        #expect(queue.hasRoom(for: 10) && queue.peak == limits.bytes)
    }

    @Test func deadlinesRunWithoutALink() {
        var queue = Queue()
        _ = queue.accept("a", bytes: 1, deadline: .seconds(5))
        _ = queue.accept("b", bytes: 1, deadline: .seconds(9))
        _ = queue.accept("c", bytes: 1)
        #expect(queue.expire(at: .seconds(4)) == .seconds(5))
        #expect(queue.expire(at: .seconds(5)) == .seconds(9))
        #expect(queue.takeFinished().map { $0.fate } == [.expired])
        queue.begin()
        #expect(self.names(self.takeAll(&queue, at: .seconds(10)), in: queue) == ["c"])
        #expect(queue.takeFinished().map(\.entry.content) == ["b"])
        #expect(queue.counts.expired == 2 && queue.counts.addUp)
    }

    @Test func aMessageInDoubtThatExpiresRemainsInDoubt() {
        var queue = Queue()
        _ = queue.accept("a", bytes: 1, deadline: .seconds(5))
        queue.begin()
        for key in self.takeAll(&queue) { queue.comeBack(key, .inDoubt) }
        _ = queue.expire(at: .seconds(6))
        let finished = queue.takeFinished()
        #expect(finished.map(\.fate) == [.inDoubt] && finished.map(\.cause) == [.expired])
        #expect(queue.counts.inDoubt == 1 && queue.doubtful == 0 && queue.counts.addUp)
    }

    @Test func aRefusedMessageGoesBackToItsPlace() {
        var queue = self.queue("a", "b")
        queue.begin()
        guard let first = queue.next(at: .zero) else { return #expect(Bool(false)) }
        queue.putBack(first.key)
        #expect(queue.counts.queued == 2 && queue.entry(first.key)?.attempts == 0)
        #expect(self.names(self.takeAll(&queue), in: queue) == ["a", "b"])
    }

    @Test func onlyAMessageThatHasNeverLeftIsWithdrawn() {
        var queue = self.queue("a", "b")
        queue.begin()
        guard let a = queue.next(at: .zero)?.key else { return #expect(Bool(false)) }
        #expect(queue.withdraw(a) == nil)
        queue.comeBack(a, .inDoubt)
        #expect(queue.withdraw(a) == nil, "it may have left")
        queue.begin()
        _ = queue.next(at: .zero)
        guard let b = queue.next(at: .zero)?.key else { return #expect(Bool(false)) }
        queue.putBack(b)
        #expect(queue.withdraw(b)?.content == "b" && queue.withdraw(b) == nil)
        #expect(queue.counts.notSent == 1 && queue.counts.addUp)
    }

    @Test func theOldestThatHaveNotLeftMakeRoom() {
        var limits = Queue.Limits()
        limits.bytes = 3 * (10 + Queue.overhead)
        var queue = self.queue("a", "b", "c", limits: limits)
        queue.begin()
        _ = queue.next(at: .zero)
        queue.dropOldest(for: 10)
        #expect(queue.takeFinished().map(\.entry.content) == ["b"] && queue.hasRoom(for: 10))
        #expect(queue.counts.dropped == 1 && queue.counts.addUp)
    }

    @Test func nothingIsDroppedIfTheRoomWouldNotSuffice() {
        var limits = Queue.Limits()
        limits.bytes = 3 * (10 + Queue.overhead)
        var queue = self.queue("a", "b", "c", limits: limits)
        queue.begin()
        _ = queue.next(at: .zero)
        // The queue may drop only two of the three messages.
        queue.dropOldest(for: 10 + 2 * (10 + Queue.overhead))
        #expect(queue.takeFinished().isEmpty && queue.count == 3)
        queue.dropOldest(for: 10, freeing: 2 * (10 + Queue.overhead))
        #expect(queue.takeFinished().map(\.entry.content) == ["b", "c"])
    }

    @Test func theEndFinishesEverything() {
        var queue = self.queue("a", "b", "c")
        queue.begin()
        guard let a = queue.next(at: .zero)?.key, let b = queue.next(at: .zero)?.key else {
            return #expect(Bool(false))
        }
        queue.endAll()
        #expect(queue.takeFinished().map(\.fate) == [.notSent])
        queue.comeBack(a, .inDoubt)
        queue.comeBack(b, .aborted)
        #expect(queue.takeFinished().map(\.fate) == [.inDoubt, .aborted])
        #expect(queue.isEmpty && queue.used == 0 && queue.counts.addUp)
    }

    @Test func aKeyOfAMessageThatIsGoneNamesNoOther() {
        var queue = self.queue("a")
        queue.begin()
        guard let a = queue.next(at: .zero)?.key else { return #expect(Bool(false)) }
        _ = queue.settle(a, .accepted)
        _ = queue.accept("b", bytes: 1)
        #expect(queue.entry(a) == nil && queue.settle(a, .accepted) == nil && queue.fail(a, .notSent) == nil)
        queue.comeBack(a, .inDoubt)
        #expect(queue.count == 1 && queue.counts.addUp)
    }
}
