// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import Testing

@testable import QpidProton

/// The budget by itself: it grants waiters bytes in order, and forgets no waiter.
@Suite(.deadline)
struct MemoryBudgetTests {
    /// A user that reserves bytes from a budget and keeps them.
    final class Taker: Sendable {
        struct State {
            var wanted: [Int] = []
            var got: [Int] = []
        }
        let budget: AMQPMemoryBudget
        let name: String
        let order: Order
        let state = Mutex(State())

        init(_ budget: AMQPMemoryBudget, _ name: String, _ order: Order) {
            (self.budget, self.name, self.order) = (budget, name, order)
        }

        func take(_ bytes: Int...) {
            self.state.withLock { $0.wanted += bytes }
            self.tryAll()
        }

        func tryAll() {
            self.state.withLock { state in
                while let bytes = state.wanted.first {
                    let id = ObjectIdentifier(self)
                    guard self.budget.tryReserve(bytes, as: id, orCall: { self.tryAll() }) else { return }
                    state.got.append(state.wanted.removeFirst())
                    self.order.names.withLock { $0.append(self.name) }
                }
            }
        }

        func releaseAll() {
            let bytes = self.state.withLock { state in
                defer { state.got = [] }
                return state.got.reduce(0, +)
            }
            self.budget.release(bytes)
        }
    }

    final class Order: Sendable {
        let names = Mutex<[String]>([])
        var taken: String { self.names.withLock { $0.joined() } }
    }

    @Test func theMarksAreMadeToFit() {
        #expect(AMQPMemoryBudget(limit: 800).low == 700)
        #expect(AMQPMemoryBudget(limit: 0).limit == 1)
        #expect(AMQPMemoryBudget(limit: 10, low: 50).low == 10)
    }

    @Test func anItemLargerThanTheLimitPassesAlone() {
        let budget = AMQPMemoryBudget(limit: 100)
        #expect(budget.tryReserve(500))
        #expect(!budget.tryReserve(1))
        budget.release(500)
        #expect(budget.tryReserve(1))
        #expect(!budget.tryReserve(100))
        #expect(budget.tryReserve(99))
        budget.reserve(50)
        #expect(budget.used == 150 && budget.peak == 500)
    }

    @Test func waitersAreCalledInOrder() {
        let budget = AMQPMemoryBudget(limit: 100, low: 50)
        let order = Order()
        let takers = ["a", "b", "c"].map { Taker(budget, $0, order) }
        takers[0].take(100)
        takers[1].take(30, 30, 30)
        takers[2].take(30)
        takers[0].take(10)
        #expect(order.taken == "a")
        takers[0].releaseAll()
        #expect(order.taken == "abbb")
        #expect(budget.used == 90)
        // The user that received bytes last moves to the end of the queue. A new user does not overtake the waiting
        // ones.
        #expect(!budget.tryReserve(1))
        takers[1].releaseAll()
        #expect(order.taken == "abbbca")
    }

    /// A large item waits until the others have released their bytes, and no other item uses the room first.
    @Test func aLargeItemIsNotOvertaken() {
        let budget = AMQPMemoryBudget(limit: 100, low: 90)
        let order = Order()
        let takers = ["a", "b", "c"].map { Taker(budget, $0, order) }
        takers[0].take(40)
        takers[2].take(40)
        takers[1].take(100)
        takers[2].take(10)
        takers[0].releaseAll()
        #expect(order.taken == "ac")
        takers[2].releaseAll()
        #expect(order.taken == "acb")
        takers[1].releaseAll()
        #expect(order.taken == "acbc")
    }

    @Test func aWithdrawnRequestLetsLaterWaitersPass() {
        let budget = AMQPMemoryBudget(limit: 100)
        let order = Order()
        let takers = ["a", "b", "c"].map { Taker(budget, $0, order) }
        takers[0].take(10)
        takers[1].take(100)
        takers[2].take(10)
        #expect(order.taken == "a")
        if budget.withdraw(ObjectIdentifier(takers[1])) { budget.serve() }
        #expect(order.taken == "ac")
        #expect(!budget.withdraw(ObjectIdentifier(takers[1])))
    }

    @Test func aLateWaiterIsCalledAtOnce() {
        let budget = AMQPMemoryBudget(limit: 100)
        let order = Order()
        let taker = Taker(budget, "a", order)
        budget.reserve(95)
        taker.state.withLock { $0.wanted = [10] }
        budget.release(95)
        // The release happens between the refusal and this call.
        budget.whenBelowLow(ObjectIdentifier(taker)) { taker.tryAll() }
        #expect(order.taken == "a")
        #expect(budget.used == 10)
    }

    @Test func bytesAreExchanged() {
        let budget = AMQPMemoryBudget(limit: 100)
        budget.reserve(90)
        #expect(!budget.exchange(20, for: 31))
        #expect(budget.used == 90)
        #expect(budget.exchange(20, for: 30))
        #expect(budget.used == 100)
        #expect(budget.exchange(100, for: 200))
        #expect(budget.used == 200)
    }

    /// Mailboxes of several connections, each with tasks that send and one that receives and releases. All messages
    /// pass, the sum never exceeds the limit, and it is 0 at the end.
    @Test func manyTasksShareABudget() async throws {
        let budget = AMQPMemoryBudget(limit: 1_000, low: 700)
        let total = 4 * 3 * 300
        let taken = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                let outbox = Outbox()
                outbox.share(budget)
                let root = outbox.addLevel(nil, parent: nil)
                let session = outbox.addLevel(.init(high: 600), parent: root)
                let links = (0..<3).map { _ in outbox.addLevel(nil, parent: session) }
                for link in links {
                    group.addTask {
                        for number in 0..<300 {
                            _ = try await outbox.enqueue(
                                payload(1 + number * 37 % 500),
                                lane: link,
                                node: link,
                                isSettled: true
                            )
                        }
                        return 0
                    }
                }
                group.addTask {
                    var mail = Outbox.Mail()
                    var releases: [Outbox.Release] = []
                    var count = 0
                    while count < 900 {
                        outbox.take(&mail, releasing: releases, at: 0)
                        releases = []
                        for case .message(let message) in mail.items {
                            releases.append((message.ledgerBytes, message.node))
                            message.fail(.cancelled)
                            count += 1
                        }
                        mail.items = []
                        await Task.yield()
                    }
                    outbox.release(releases)
                    for link in links { outbox.closeLevel(link, .senderClosed) }
                    _ = outbox.close(.senderClosed)
                    return count
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(taken == total)
        #expect(budget.used == 0)
        #expect(budget.peak <= 1_000 && budget.peak > 500)
    }

    // MARK: Reading

    @Test func messagesToSendLeaveRoomForReads() {
        let budget = AMQPMemoryBudget(limit: .kibibytes(64))
        #expect(budget.tryReserve(57_344) && budget.tryReserve(8_192))
        budget.release(8_192)
        budget.joinReaders(margin: AMQPMemoryBudget.margin)
        #expect(!budget.tryReserve(1) && budget.isReadable(completing: 0))
        #expect(budget.shortage(1, without: 0) == 1 && budget.shortage(1, without: 1) == 0)
        #expect(!budget.exchange(1, for: 2) && budget.exchange(1, for: 1))
        // The room for reads stays reserved after the last reader has left.
        budget.leaveReaders(ObjectIdentifier(budget), margin: AMQPMemoryBudget.margin)
        #expect(!budget.tryReserve(1))
        let narrow = AMQPMemoryBudget(limit: .kibibytes(64), low: .kibibytes(64))
        narrow.joinReaders(margin: AMQPMemoryBudget.margin)
        #expect(narrow.tryReserve(57_344) && !narrow.tryReserve(1) && narrow.isReadable(completing: 0))
    }

    @Test func readsAreNoLargerThanThereIsRoomFor() {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        for _ in 0..<20 { budget.joinReaders(margin: AMQPMemoryBudget.margin) }
        let reads = (0..<20).map { _ in budget.reserveRead(65_536, completing: 0, insteadOf: 0).read }
        // 15 full reads, one read of the rest minus all margins, and reads of one margin each once there is no room.
        #expect(reads == Array(repeating: 65_536, count: 15) + [55_296] + Array(repeating: 512, count: 4))
        #expect(budget.used.bytes <= 1 << 20 && !budget.isReadable(completing: 0))
        #expect(budget.reserveRead(1_000, completing: 0, insteadOf: 65_536) == (1_000, 1_000))
        #expect(budget.isReadable(completing: 0))
    }

    @Test func marginsOfManyLeaveRoomToRead() {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        for _ in 0..<1_000 { budget.joinReaders(margin: 16_896) }
        budget.reserve(budget.low.bytes)
        #expect(budget.reserveRead(65_536, completing: 0, insteadOf: 0).read == 65_536)
        #expect(!budget.isReadable(completing: 0))
    }

    /// The bytes of a frame are counted when the frame is complete. The read that may complete it needs room for the
    /// whole frame.
    @Test func aReadThatCompletesAFrameReservesTheWholeFrame() {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        budget.joinReaders(margin: AMQPMemoryBudget.margin)
        budget.reserve(budget.limit.bytes - 40_000)
        #expect(budget.isReadable(completing: 30_000) && !budget.isReadable(completing: 38_000))
        #expect(budget.reserveRead(65_536, completing: 30_000, insteadOf: 0) == (9_488, 39_488))
        budget.release(39_488)
        #expect(budget.reserveRead(65_536, completing: 38_000, insteadOf: 0) == (512, 512))
        budget.release(512)
        let calls = Mutex(0)
        budget.whenReadable(ObjectIdentifier(budget), completing: 38_000) { calls.withLock { $0 += 1 } }
        budget.release(500)
        #expect(calls.withLock { $0 } == 0)
        budget.release(100)
        #expect(calls.withLock { $0 } == 1)
        // A frame that is larger than the budget must not wait forever.
        budget.release(budget.used.bytes)
        #expect(budget.isReadable(completing: .max))
    }

    @Test func aWaitingReaderIsCalledWhenThereIsRoom() {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        let order = Order()
        let (first, second) = (Taker(budget, "first", order), Taker(budget, "second", order))
        budget.joinReaders(margin: AMQPMemoryBudget.margin)
        budget.reserve(budget.limit.bytes - 2_000)
        budget.whenReadable(ObjectIdentifier(first), completing: 0) { order.names.withLock { $0.append("first") } }
        budget.release(100)
        #expect(order.names.withLock { $0 } == [])
        // The level is above the low mark, so the waiters for credit are not called.
        budget.release(1_000)
        #expect(order.names.withLock { $0 } == ["first"])
        budget.whenReadable(ObjectIdentifier(second), completing: 0) { order.names.withLock { $0.append("second") } }
        #expect(order.names.withLock { $0 } == ["first", "second"])
        budget.reserve(1_000)
        budget.whenReadable(ObjectIdentifier(second), completing: 0) { order.names.withLock { $0.append("never") } }
        budget.whenReadable(ObjectIdentifier(first), completing: 0) { order.names.withLock { $0.append("first") } }
        budget.leaveReaders(ObjectIdentifier(second), margin: AMQPMemoryBudget.margin)
        budget.release(1_000)
        #expect(order.names.withLock { $0 } == ["first", "second", "first"])
    }
}
