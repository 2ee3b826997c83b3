// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import Testing

@testable import QpidProton

/// The messages of a client's sender in the send budget of its connections, without a link.
@Suite(.deadline)
struct ClientSenderBudgetTests {
    private static let charge = 10 + ClientSender.Queue.overhead
    private let budget = AMQPMemoryBudget(limit: AMQPByteCount(4 * charge), low: AMQPByteCount(3 * charge))

    private func sender(
        _ overflow: AMQPOverflow = .suspend,
        replayLimit: Int = 100 * charge
    ) -> ClientSender {
        var configuration = AMQPClient.Sender.Configuration(target: "q")
        configuration.link.overflow = overflow
        configuration.replayLimit = AMQPByteCount(replayLimit)
        return ClientSender(configuration, name: "sender", ClientClock(), self.budget)
    }

    private func message(_ sender: ClientSender, _ options: AMQPSendOptions = .init()) throws -> ClientMessage {
        try sender.message(ByteBuffer(repeating: 7, count: 10), nil, options)
    }

    private func fill(_ sender: ClientSender, _ count: Int) throws -> [AMQPClient.Tracker] {
        try (0..<count).map { _ in try sender.trySend(self.message(sender)) }
    }

    private func refusal(_ sender: ClientSender) -> AMQPError? {
        do {
            _ = try sender.trySend(self.message(sender))
            return nil
        } catch {
            return error as? AMQPError
        }
    }

    @Test func eachMessageCountsWithItsOverhead() throws {
        let (first, second) = (self.sender(), self.sender())
        _ = try self.fill(first, 1)
        _ = try self.fill(second, 2)
        #expect(self.budget.used.bytes == 3 * Self.charge)
        #expect(first.bytes.used == Self.charge && second.bytes.used == 2 * Self.charge)
    }

    @Test func aFullBudgetIsNamed() throws {
        let sender = self.sender()
        _ = try self.fill(sender, 4)
        let error = try #require(self.refusal(sender))
        #expect(error.condition == .wouldBlock && error.fate == .notSent)
        #expect(error.blockedBy == [.memoryBudget, .closed])
        #expect(error.detail.hasPrefix("the memory budget of 1064 B is full: 1064 bytes of 1064 in the budget"))
        #expect(sender.bytes.used == 4 * Self.charge && sender.counts.addUp)
    }

    @Test func theReplayLimitIsCheckedBeforeTheBudget() throws {
        let sender = self.sender(replayLimit: 2 * Self.charge)
        _ = try self.fill(sender, 2)
        #expect(self.refusal(sender)?.blockedBy == [.replayLimit, .closed])
        #expect(self.budget.used.bytes == 2 * Self.charge)
    }

    @Test func theEndReturnsAllBytes() async throws {
        let sender = self.sender()
        let trackers = try self.fill(sender, 4)
        await sender.finish(.senderIsClosed)
        #expect(self.budget.used == 0 && trackers.allSatisfy { $0.result != nil })
    }

    @Test func aReleasedSenderReturnsItsBytesAndAnswersItsMessages() throws {
        var trackers: [AMQPClient.Tracker] = []
        do {
            let sender = self.sender()
            trackers = try self.fill(sender, 4)
        }
        #expect(self.budget.used == 0)
        for tracker in trackers {
            guard case .failure(let error)? = tracker.result else { return #expect(Bool(false)) }
            #expect(error.fate == .notSent && error.condition == .closed)
        }
    }

    @Test func anExpiredMessageReturnsItsBytes() async throws {
        let sender = self.sender()
        let tracker = try sender.trySend(self.message(sender, .init(expiresAfter: .milliseconds(1))))
        await #expect(throws: AMQPError.self) { try await tracker.outcome() }
        try await eventually("the bytes are returned") { self.budget.used == 0 }
    }

    @Test func aWithdrawnMessageReturnsItsBytes() async throws {
        let sender = self.sender()
        let tracker = try sender.trySend(self.message(sender))
        let waiting = Task { try await sender.settlement(of: tracker) }
        waiting.cancel()
        await #expect(throws: AMQPError.self) { try await waiting.value }
        #expect(self.budget.used == 0)
    }

    @Test func waitingSendersContinueInTheirTurn() async throws {
        let (first, second) = (self.sender(), self.sender())
        _ = try self.fill(first, 4)
        let sending = Task { try await second.enqueue(self.message(second)) }
        try await eventually("the task waits") { second.isEmpty == false }
        #expect(self.budget.used.bytes == 4 * Self.charge && second.bytes.used == 0)
        // A later task of another sender does not overtake the waiting task.
        let third = self.sender()
        let behind = Task { try await third.enqueue(self.message(third)) }
        try await eventually("the task waits") { third.isEmpty == false }
        await first.finish(.senderIsClosed)
        _ = try await sending.value
        _ = try await behind.value
        #expect(self.budget.used.bytes == 2 * Self.charge)
        await second.finish(.senderIsClosed)
        await third.finish(.senderIsClosed)
        #expect(self.budget.used == 0)
    }

    /// The turn of a cancelled task passes to the next task, also below the low mark, where no release follows.
    @Test func aCancelledTaskPassesItsTurnToTheNextTask() async throws {
        let sender = self.sender()
        _ = try self.fill(sender, 2)
        let large = try sender.message(ByteBuffer(repeating: 7, count: 2 * Self.charge), nil, .init())
        let first = Task { try await sender.enqueue(large) }
        try await eventually("the first waits") { sender.change { state, _ in state.waiting.count == 1 } }
        let second = Task { try await sender.enqueue(self.message(sender)) }
        try await eventually("both wait") { sender.change { state, _ in state.waiting.count == 2 } }
        first.cancel()
        await #expect(throws: AMQPError.self) { try await first.value }
        _ = try await second.value
        #expect(self.budget.used.bytes == 3 * Self.charge)
        await sender.finish(.senderIsClosed)
        #expect(self.budget.used == 0)
    }

    @Test func aSenderWithoutWaitingTasksDoesNotWaitForTheBudget() async throws {
        let (first, second) = (self.sender(), self.sender())
        _ = try self.fill(first, 4)
        let waiting = Task { try await second.enqueue(self.message(second)) }
        try await eventually("the task waits") { second.isEmpty == false }
        waiting.cancel()
        await #expect(throws: AMQPError.self) { try await waiting.value }
        await first.finish(.senderIsClosed)
        #expect(self.budget.used == 0)
        _ = try self.fill(first.end == nil ? first : self.sender(), 1)
        #expect(self.budget.state.withLock { $0.waitingIDs.isEmpty })
    }

    @Test func droppedMessagesOfTheSenderMakeRoomInTheBudget() async throws {
        let (first, second) = (self.sender(), self.sender(.dropOldest))
        _ = try self.fill(first, 2)
        let oldest = try self.fill(second, 2)
        let kept = try await second.enqueue(self.message(second))
        #expect(
            oldest[0].result.map { if case .failure(let error) = $0 { error.fate == .dropped } else { false } } == true
        )
        #expect(kept.result == nil && oldest[1].result == nil && self.budget.used.bytes == 4 * Self.charge)
    }

    @Test func nothingIsDroppedIfOtherSendersFillTheBudget() async throws {
        let (first, second) = (self.sender(), self.sender(.dropOldest))
        _ = try self.fill(first, 3)
        let oldest = try self.fill(second, 1)
        let large = try second.message(ByteBuffer(repeating: 7, count: 2 * Self.charge), nil, .init())
        let dropped = try await second.enqueue(large)
        guard case .failure(let error)? = dropped.result else { return #expect(Bool(false)) }
        #expect(error.fate == .dropped && error.blockedBy == [.memoryBudget, .closed])
        #expect(oldest[0].result == nil && second.counts.dropped == 1 && second.counts.addUp)
    }
}
