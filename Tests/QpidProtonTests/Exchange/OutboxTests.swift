// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// The mail of an outbox: its order, the wake-up of the loop, and the end.
@Suite(.deadline)
struct OutboxTests {
    private let outbox = Outbox()
    private let status = SessionStatus(key: SlotKey(bitPattern: 9))

    private final class Wakes: Sendable {
        let number = Atomic(0)
        var count: Int { self.number.load(ordering: .relaxed) }
    }

    private let wakes = Wakes()

    private func open() { self.outbox.open { [wakes] in wakes.number.add(1, ordering: .relaxed) } }

    private func take() -> Outbox.Mail {
        var mail = Outbox.Mail()
        self.outbox.take(&mail, releasing: [], at: 0)
        return mail
    }

    private func settlement(_ number: UInt) -> Settlement {
        Settlement(
            receiver: SlotKey(bitPattern: 1),
            slot: SlotKey(bitPattern: number),
            sequence: UInt64(number),
            outcome: .accepted,
            includesEarlier: false
        )
    }

    private func names(_ items: [Outbox.Item]) -> [String] {
        items.map { item in
            switch item {
            case .message(let message): "message \(message.bytes.count)"
            case .part(let part): "part \(part.bytes.count)"
            case .taken(let count, _): "taken \(count)"
            case .command: "command"
            }
        }
    }

    @Test func itemsKeepTheirOrderAndSettlementsAreSeparate() {
        self.outbox.taken(2, receiver: SlotKey(bitPattern: 1))
        #expect(self.outbox.settle(self.settlement(1)))
        #expect(self.outbox.post(.connection(.close(nil))))
        #expect(self.outbox.settle(contentsOf: [self.settlement(2), self.settlement(3)]))
        self.outbox.taken(5, receiver: SlotKey(bitPattern: 1))
        #expect(self.outbox.post(.session(self.status, .close(nil))))
        let mail = self.take()
        #expect(self.names(mail.items) == ["taken 2", "command", "taken 5", "command"])
        #expect(mail.settlements.map(\.sequence) == [1, 2, 3] && mail.commands.count == 2)
        #expect(!mail.isEmpty && self.take().isEmpty)
    }

    @Test func mailOfSettlementsAloneIsNotEmpty() {
        #expect(Outbox.Mail().isEmpty)
        #expect(self.outbox.settle(self.settlement(1)))
        #expect(!self.take().isEmpty)
    }

    /// After the loop has read mail, it checks once more without a wakeup and finds no new mail.
    @Test func theLoopIsWokenOnceUntilItHasFoundNothing() {
        self.open()
        #expect(self.wakes.count == 0 && !self.outbox.isScheduled)
        for _ in 0..<3 { self.outbox.taken(1, receiver: SlotKey(bitPattern: 1)) }
        #expect(self.wakes.count == 1 && self.outbox.isScheduled)
        #expect(self.take().items.count == 3)
        self.outbox.taken(1, receiver: SlotKey(bitPattern: 1))
        #expect(self.wakes.count == 1 && self.outbox.isScheduled)
        #expect(self.take().items.count == 1 && self.take().isEmpty && !self.outbox.isScheduled)
        self.outbox.taken(1, receiver: SlotKey(bitPattern: 1))
        #expect(self.wakes.count == 2)
    }

    @Test func mailFromBeforeTheOpeningWakesTheLoopAtTheOpening() {
        self.outbox.taken(1, receiver: SlotKey(bitPattern: 1))
        #expect(self.wakes.count == 0)
        self.open()
        #expect(self.wakes.count == 1)
        #expect(self.take().items.count == 1)
    }

    @Test func nothingIsPostedAfterTheCloseWhoseFirstErrorStays() {
        self.open()
        #expect(!self.outbox.isClosed && self.outbox.closedError.condition == .closed)
        self.outbox.taken(4, receiver: SlotKey(bitPattern: 1))
        let lost = AMQPError(scope: .connection, condition: .connectionLost, detail: "lost")
        #expect(self.names(self.outbox.close(lost).items) == ["taken 4"])
        #expect(self.outbox.close(AMQPError(condition: .internalError)).isEmpty)
        #expect(self.outbox.isClosed && self.outbox.closedError == lost)
        #expect(!self.outbox.post(.connection(.close(nil))) && !self.outbox.settle(self.settlement(1)))
        self.outbox.taken(1, receiver: SlotKey(bitPattern: 1))
        #expect(self.take().isEmpty && self.outbox.answered(lost) == nil && self.wakes.count == 1)
    }

    @Test func aRequestAfterTheCloseThrowsItsError() async throws {
        _ = self.outbox.close(AMQPError(scope: .connection, condition: .idleTimeout, detail: "silent"))
        let error = await expectError(.idleTimeout) {
            try await self.outbox.ask { (reply: Reply<AMQPConnectionSnapshot>) in .connection(.snapshot(reply)) }
        }
        #expect(error?.detail == "silent")
        await expectError(.idleTimeout) {
            try await self.outbox.askAtOnce { (reply: Reply<AMQPConnectionSnapshot>) in .connection(.snapshot(reply)) }
        }
    }

    /// Returns the reply of the latest question.
    private func question() throws -> Reply<AMQPConnectionSnapshot> {
        guard case .connection(.snapshot(let reply))? = self.take().commands.last else {
            throw Unexpected(what: "no question")
        }
        return reply
    }

    @Test func aQuestionIsAnsweredByTheLoopAndACancelledTaskStopsWaiting() async throws {
        let tasks = (0..<2).map { _ in
            begin { [outbox] in try await outbox.ask { .connection(.snapshot($0)) } as AMQPConnectionSnapshot }
        }
        tasks[0].cancel()
        await expectError(.cancelled) { try await tasks[0].value }
        #expect(!tasks[1].isDone)
        try self.question().resolve(.failure(AMQPError(condition: .timeout)))
        await expectError(.timeout) { try await tasks[1].value }
    }

    @Test func anAnswerThatMustNotBeLostIsWaitedForByACancelledTaskToo() async throws {
        let task = begin { [outbox] in
            try await outbox.askAtOnce { .connection(.snapshot($0)) } as AMQPConnectionSnapshot
        }
        task.cancel()
        await Task.yield()
        #expect(!task.isDone)
        try self.question().resolve(.failure(AMQPError(condition: .timeout)))
        await expectError(.timeout) { try await task.value }
    }

    @Test func anAnsweredMessageHasItsErrorAtOnce() throws {
        let error = AMQPError(condition: .dropped, detail: "no room")
        let reply = try #require(self.outbox.answered(error))
        #expect(reply.answer == .failure(error) && self.take().isEmpty)
        _ = self.outbox.close(error)
    }
}
