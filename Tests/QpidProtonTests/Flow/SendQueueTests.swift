// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The backlog: order within a lane, turns among lanes, credit and slices.
@Suite struct SendQueueTests {
    private let made = MadeMessages()

    private func message(_ bytes: Int, reply: ((OutcomeReply) -> Void)? = nil) -> PendingMessage {
        self.made.make(bytes, reply)
    }

    /// Moves everything that can move, in slices of `limit` bytes. Returns the sizes of the slices with their links.
    private func drain(_ queue: inout SendQueue<String>, limit: Int = 1_000_000) -> [String] {
        var moved: [String] = []
        while let lane = queue.nextLane() {
            var used = 0
            if let slice = lane.next(limit: limit) {
                used = slice.range.count
                moved.append("\(lane.link)\(slice.range.count)\(slice.isLast ? "." : "-")")
            }
            queue.yield(lane, used: max(lane.allowance, used))
        }
        return moved
    }

    @Test func nothingMovesWithoutCredit() {
        var queue = SendQueue<String>()
        let lane = queue.addLane("a")
        queue.enqueue([self.message(1)], on: lane)
        #expect(self.drain(&queue) == [])
        queue.setCredit(1, on: lane)
        queue.enqueue([self.message(2)], on: lane)
        #expect(self.drain(&queue) == ["a1."])
        #expect(lane.credit == 0)
        queue.setCredit(-5, on: lane)
        #expect(self.drain(&queue) == [])
        queue.setCredit(5, on: lane)
        #expect(self.drain(&queue) == ["a2."])
        #expect(lane.credit == 4)
    }

    @Test func lanesTakeTurns() {
        var queue = SendQueue<String>()
        let lanes = ["a", "b", "c"].map { queue.addLane($0) }
        for lane in lanes { queue.setCredit(lane === lanes[1] ? 1 : 9, on: lane) }
        for lane in lanes { for size in 1...3 { queue.enqueue([self.message(size)], on: lane) } }
        #expect(self.drain(&queue) == ["a1.", "b1.", "c1.", "a2.", "c2.", "a3.", "c3."])
    }

    @Test func slicesKeepAMessageTogetherOnItsLane() {
        var queue = SendQueue<String>()
        let first = queue.addLane("a")
        let second = queue.addLane("b")
        for lane in [first, second] { queue.setCredit(2, on: lane) }
        queue.enqueue([self.message(25)], on: first)
        queue.enqueue([self.message(3)], on: first)
        queue.enqueue([self.message(0)], on: second)
        queue.enqueue([self.message(10)], on: second)
        #expect(self.drain(&queue, limit: 10) == ["a10-", "b0.", "a10-", "b10.", "a5.", "a3."])
    }

    @Test func aMessageThatHasBegunNeedsNoMoreCredit() throws {
        var queue = SendQueue<String>()
        let lane = queue.addLane("a")
        queue.setCredit(1, on: lane)
        var reply: OutcomeReply?
        let message = self.message(30) { reply = $0 }
        queue.enqueue([message], on: lane)
        #expect(queue.nextLane() === lane)
        #expect(lane.next(limit: 10)?.isFirst == true)
        #expect(lane.isMidMessage)
        queue.setCredit(0, on: lane)
        #expect(queue.remove(try #require(reply), from: lane) == nil)
        #expect(lane.next(limit: 0)?.range == 10..<11)
        #expect(self.drain(&queue) == ["a19."])
    }

    @Test func blockedLanesWait() {
        var queue = SendQueue<String>()
        let first = queue.addLane("a")
        let second = queue.addLane("b")
        for lane in [first, second] {
            queue.setCredit(9, on: lane)
            queue.enqueue([self.message(5)], on: lane)
        }
        queue.setBlocked(true, on: first)
        #expect(self.drain(&queue) == ["b5."])
        #expect(first.next(limit: 5) == nil)
        queue.setBlocked(false, on: first)
        #expect(self.drain(&queue) == ["a5."])
    }

    @Test func unstartedMessagesCanBeRemoved() {
        var queue = SendQueue<String>()
        let lane = queue.addLane("a")
        var replies: [OutcomeReply] = []
        let messages = (1...4).map { self.message($0) { replies.append($0) } }
        queue.enqueue(messages, on: lane)
        #expect(queue.remove(replies[1], from: lane)?.bytes.count == 2)
        #expect(queue.remove(replies[1], from: lane) == nil)
        queue.setCredit(2, on: lane)
        #expect(self.drain(&queue) == ["a1.", "a3."])
        #expect(queue.removeLane(lane).map(\.bytes.count) == [4])
        #expect(queue.removeLane(lane).isEmpty)
        #expect(queue.lane(lane.key) == nil)
        #expect(self.drain(&queue) == [])
        #expect(lane.isEmpty)
    }

    @Test func theRestOfAMessageCanBeDropped() {
        var queue = SendQueue<String>()
        let lane = queue.addLane("a")
        queue.setCredit(2, on: lane)
        queue.enqueue([self.message(100)], on: lane)
        queue.enqueue([self.message(7)], on: lane)
        #expect(queue.dropCurrent(lane) == nil)
        _ = queue.nextLane()
        #expect(lane.next(limit: 30)?.ledgerBytes == 30)
        let dropped = queue.dropCurrent(lane)
        #expect(dropped?.rest == 70)
        #expect(dropped?.message.bytes.count == 100)
        if let dropped { self.made.isGone(dropped.message) }
        #expect(!lane.isMidMessage)
        #expect(self.drain(&queue) == ["a7."])
    }

    /// The slices of a message subtract from the ledger exactly the bytes that the message added.
    @Test func slicesSumUpToTheLedgersBytes() {
        for size in [0, 1, 9, 10, 11, 100] {
            var queue = SendQueue<String>()
            let lane = queue.addLane("a")
            queue.setCredit(1, on: lane)
            let message = self.message(size)
            queue.enqueue([message], on: lane)
            var sum = 0
            while let slice = lane.next(limit: 10) { sum += slice.ledgerBytes }
            #expect(sum == message.ledgerBytes)
        }
    }

    @Test func randomStepsKeepTheOrder() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            var queue = SendQueue<Int>()
            let lanes = (0..<4).map { queue.addLane($0) }
            var credit = [0, 0, 0, 0]
            var blocked = [false, false, false, false]
            var waiting: [[Int]] = [[], [], [], []]
            var current: [Int?] = [nil, nil, nil, nil]
            for _ in 0..<200 {
                let index = Int.random(in: 0..<4, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0, 1:
                    let size = Int.random(in: 0...50, using: &random)
                    queue.enqueue([self.message(size)], on: lanes[index])
                    waiting[index].append(size)
                case 2:
                    credit[index] = Int.random(in: 0...3, using: &random)
                    queue.setCredit(credit[index], on: lanes[index])
                case 3:
                    blocked[index].toggle()
                    queue.setBlocked(blocked[index], on: lanes[index])
                default:
                    guard let lane = queue.nextLane() else {
                        // Nothing is ready only when nothing can move.
                        for index in 0..<4 {
                            let canMove =
                                !blocked[index]
                                && (current[index] != nil || credit[index] > 0 && !waiting[index].isEmpty)
                            #expect(!canMove)
                        }
                        continue
                    }
                    let link = lane.link
                    #expect(!blocked[link])
                    guard let slice = lane.next(limit: 20) else {
                        Issue.record("a lane that cannot move"); continue
                    }
                    if slice.isFirst, current[link] == nil {
                        #expect(credit[link] > 0)
                        credit[link] -= 1
                        current[link] = waiting[link].removeFirst()
                    }
                    #expect(slice.message.bytes.count == current[link])
                    if slice.isLast { current[link] = nil }
                    queue.yield(lane, used: slice.range.count)
                }
            }
        }
    }
}
