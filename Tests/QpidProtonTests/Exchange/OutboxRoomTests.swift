// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import Testing

@testable import QpidProton

/// The room of an outbox: one step counts and queues a message. Messages wait in order and leave nothing behind.
@Suite(.deadline)
final class OutboxRoomTests {
    private let outbox = Outbox()
    private let session: SlotKey
    private let link: SlotKey
    private let status = LinkStatus(
        name: "l",
        key: LinkKey(session: SlotKey(bitPattern: 1), link: SlotKey(bitPattern: 1))
    )

    init() {
        self.session = self.outbox.addLevel(AMQPSendLimit(high: 100, low: 50), parent: nil)
        self.link = self.outbox.addLevel(AMQPSendLimit(high: 80, low: 40), parent: self.session, self.status)
    }

    deinit { _ = self.outbox.close(.senderClosed) }

    /// Returns the sizes of the posted messages and releases them.
    private func posted() -> [Int] {
        var mail = Outbox.Mail()
        self.outbox.take(&mail, releasing: [], at: 0)
        return mail.items.map { item in
            guard case .message(let message) = item else { return -1 }
            defer { message.fail(.cancelled) }
            return message.bytes.count
        }
    }

    private func trySend(_ bytes: Int, on node: SlotKey? = nil, choice: SendChoice? = nil) -> String {
        let admission = self.outbox.tryEnqueue(
            MessageChunk.message(payload(bytes)),
            count: bytes,
            lane: self.link,
            node: node ?? self.link,
            isSettled: false,
            choice: choice
        )
        switch admission {
        case .admitted: return "admitted"
        case .closed: return "closed"
        case .full(let level, let bytes): return "full \(level) \(bytes)"
        }
    }

    private func send(_ bytes: Int) -> Begun<OutcomeReply> {
        begin { [outbox, link] in
            try await outbox.enqueue(payload(bytes), lane: link, node: link, isSettled: false)
        }
    }

    private func used() -> [Int?] { [self.link, self.session].map { self.outbox.ledger($0)?.used } }

    @Test func aMessageIsRefusedByTheFirstLevelWithoutRoom() {
        let other = self.outbox.addLevel(nil, parent: self.session)
        #expect(self.trySend(60) == "admitted")
        #expect(self.trySend(21) == "full link 21")
        #expect(self.used() == [60, 60])
        // After the link has exceeded its low mark, it admits nothing until it has fallen to that mark.
        #expect(self.trySend(1) == "full link 1")
        #expect(self.trySend(41, on: other) == "full session 41")
        self.outbox.release([(60, self.link)])
        #expect(self.trySend(0) == "admitted" && self.used() == [1, 1])
        #expect(self.posted() == [60, 0] && self.outbox.ledger(other)?.used == 0)
        self.outbox.closeLevel(self.link, .senderClosed)
        #expect(self.trySend(1) == "closed")
    }

    @Test func theChoiceOfAMessageTravelsBesideIt() throws {
        let choice = SendChoice(AMQPSendOptions(messageFormat: 5), lane: self.link, now: .uptimeNanoseconds(0))
        #expect([self.trySend(1, choice: choice), self.trySend(2)] == ["admitted", "admitted"])
        var mail = Outbox.Mail()
        self.outbox.take(&mail, releasing: [], at: 0)
        let messages = mail.items.compactMap { if case .message(let message) = $0 { message } else { nil } }
        try #require(messages.count == 2)
        #expect(messages.map(\.hasChoice) == [true, false] && mail.choices.count == 1)
        #expect(mail.choices[messages[0].outcome.number] === choice)
        for message in messages { message.fail(.cancelled) }
    }

    @Test func waitingMessagesPassInTheOrderOfTheirCalls() async throws {
        let tasks = [50, 40, 10].map { self.send($0) }
        _ = try await tasks[0].value
        #expect(!tasks[1].isDone && !tasks[2].isDone)
        #expect(self.posted() == [50])
        #expect(self.outbox.shortage(self.link) == 10)
        // The message waits behind the first one, although there would be room for it.
        #expect(self.trySend(5) == "full link 5")
        self.outbox.release([(10, self.link)])
        _ = try await tasks[1].value
        #expect(self.posted() == [40] && self.used() == [80, 80] && !tasks[2].isDone)
        self.outbox.release([(40, self.link)])
        _ = try await tasks[2].value
        #expect(self.posted() == [10] && self.used() == [50, 50])
    }

    @Test func aCancelledMessageIsWithdrawnAndLaterOnesPass() async throws {
        let tasks = [60, 70, 15].map { self.send($0) }
        _ = try await tasks[0].value
        #expect(!tasks[1].isDone && !tasks[2].isDone)
        self.outbox.release([(20, self.link)])
        #expect(!tasks[2].isDone)
        tasks[1].cancel()
        let error = await expectError(.cancelled) { try await tasks[1].value }
        #expect(error?.fate == .notSent)
        _ = try await tasks[2].value
        #expect(self.posted() == [60, 15] && self.used() == [55, 55])
    }

    @Test func aClosedLinkFailsOnlyItsOwnWaitingTasks() async throws {
        let other = self.outbox.addLevel(nil, parent: self.session)
        let tasks = [self.send(80), self.send(30)]
        let elsewhere = begin { [outbox] in
            try await outbox.enqueue(payload(40), lane: other, node: other, isSettled: false)
        }
        #expect([tasks[1].isDone, elsewhere.isDone] == [false, false])
        self.outbox.closeLevel(self.link, AMQPError(scope: .link, condition: .notFound, detail: "gone"))
        await expectError(.notFound) { try await tasks[1].value }
        #expect(!elsewhere.isDone && self.posted() == [80])
        await expectError(.closed) { try await self.send(1).value }
        self.outbox.release([(80, self.link)])
        _ = try await elsewhere.value
        #expect(self.posted() == [40] && self.outbox.ledger(self.session)?.used == 40)
    }

    @Test func streamsHaveNumbersOfTheirOwn() {
        #expect((0..<3).map { _ in self.outbox.makeStream() } == [1, 2, 3])
    }

    @Test func aFullSessionReportsTheCauseOfItsHeaviestLink() {
        let other = LinkStatus(name: "o", key: LinkKey(session: self.session, link: self.session))
        let node = self.outbox.addLevel(nil, parent: self.session, other)
        self.status.cause.store(.rate, ordering: .relaxed)
        other.cause.store(.credit, ordering: .relaxed)
        #expect([self.trySend(30), self.trySend(60, on: node)] == ["admitted", "admitted"])
        let refusal = self.outbox.refusal(.session, bytes: 20, self.link)
        #expect(refusal == .init(level: .session, bytes: 20, high: 100, low: 50, used: 90, cause: .credit))
        #expect(self.posted() == [30, 60])
    }
}
