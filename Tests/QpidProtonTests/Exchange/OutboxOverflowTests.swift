// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// The effect of an overflow policy on a message that would have to wait: it makes room for the message, or drops it.
@Suite(.deadline)
final class OutboxOverflowTests {
    private let outbox = Outbox()
    private let link: SlotKey
    private let status = LinkStatus(
        name: "l",
        key: LinkKey(session: SlotKey(bitPattern: 1), link: SlotKey(bitPattern: 1))
    )

    init() {
        self.link = self.outbox.addLevel(AMQPSendLimit(high: 80, low: 40), parent: nil, self.status)
    }

    deinit { _ = self.outbox.close(.senderClosed) }

    /// Returns the sizes of the posted messages and releases them; -1 for a command.
    private func posted() -> [Int] {
        var mail = Outbox.Mail()
        self.outbox.take(&mail, releasing: [], at: 0)
        return mail.items.map { item in
            guard case .message(let message) = item else { return -1 }
            defer { message.fail(.cancelled) }
            return message.bytes.count
        }
    }

    private func send(_ bytes: Int, orPost command: Command? = nil) -> Begun<OutcomeReply> {
        begin { [outbox, link] in
            try await outbox.enqueue(payload(bytes), lane: link, node: link, isSettled: false, orPost: command)
        }
    }

    @Test func aMessageThatHasToWaitPostsItsCommandOnce() async throws {
        let makeRoom = Command.sender(self.status, .makeRoom(isAgain: false))
        _ = try await self.send(80, orPost: makeRoom).value
        #expect(self.posted() == [80])
        let waiting = self.send(10, orPost: makeRoom)
        #expect(self.posted() == [-1])
        // One step exchanges the bytes of an older message for the waiting one.
        #expect(!self.outbox.replace(0, self.link) && self.outbox.replace(80, self.link))
        _ = try await waiting.value
        #expect(self.outbox.ledger(self.link)?.used == 10 && self.posted() == [10])
    }

    @Test func theFirstWaitingMessageCanBeDropped() async throws {
        self.status.cause.store(.credit, ordering: .relaxed)
        let tasks = [self.send(80), self.send(30), self.send(20)]
        let refusal = try #require(self.outbox.refusalOfFirst(self.link))
        #expect(refusal == .init(level: .link, bytes: 30, high: 80, low: 40, used: 80, cause: .credit))
        self.outbox.dropFirst(self.link, self.status)
        #expect(try await tasks[1].value.answer == .failure(.dropped(refusal)))
        #expect(self.status.droppedMessages.load(ordering: .relaxed) == 1)
        #expect(self.status.droppedBytes.load(ordering: .relaxed) == 30)
        #expect(!tasks[2].isDone && self.outbox.refusalOfFirst(self.link)?.bytes == 20)
        self.outbox.closeLevel(self.link, .senderClosed)
        await expectError(.closed) { try await tasks[2].value }
        #expect(self.outbox.refusalOfFirst(self.link) == nil && self.posted() == [80])
    }
}
