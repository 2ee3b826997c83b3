// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// The path of the decisions about the deliveries of one receiver.
@Suite struct SettlerTests {
    private let outbox = Outbox()
    private let unsent = UnsentSettlements(metadata: [:], logger: LogLines().logger)
    private let key = SlotKey(bitPattern: 4)

    private var settler: Settler { Settler(outbox: self.outbox, receiver: self.key, unsent: self.unsent) }

    private func settlement(_ number: UInt, _ outcome: AMQPOutcome = .accepted) -> Settlement {
        Settlement(
            receiver: self.key,
            slot: SlotKey(bitPattern: number),
            sequence: UInt64(number),
            outcome: outcome,
            includesEarlier: false
        )
    }

    private func end(undecided: Int) {
        let messages = (1...undecided).map { (SlotKey(bitPattern: UInt($0)), UInt64($0)) }
        self.unsent.end(
            AMQPError(scope: .link, condition: .closed),
            undecided: Dictionary(uniqueKeysWithValues: messages),
            unsent: 0,
            untold: [],
            unconfirmed: [],
            inDoubt: .forGood(0),
            untaken: 0
        )
    }

    @Test func everyOutcomeIsStoredUnchanged() {
        let error = AMQPError(condition: .notAllowed, detail: "no")
        let modified = AMQPOutcome.modified(AMQPModified(deliveryFailed: true))
        for outcome in [AMQPOutcome.accepted, .released, .rejected(error), .rejected(nil), modified, .settled] {
            #expect(self.settlement(1, outcome).outcome == outcome)
        }
    }

    @Test func decisionsAreQueuedWhileTheLinkLives() {
        #expect(self.settler.settle(self.settlement(1)) == .queued)
        #expect(self.settler.settle(contentsOf: [self.settlement(2), self.settlement(3)]) == .queued)
        var mail = Outbox.Mail()
        self.outbox.take(&mail, releasing: [], at: 0)
        #expect(mail.settlements.map(\.sequence) == [1, 2, 3] && self.unsent.count == 0)
    }

    /// The loop runs between the post and the return of the call.
    @Test func aDecisionThatIsSentBeforeTheLinkEndsIsQueued() {
        self.outbox.open { self.end(undecided: 1) }
        #expect(self.settler.settle(self.settlement(1)) == .queued)
        #expect(self.settler.settle(self.settlement(2)) == .stale)
        // The outbox releases its waker, which refers to it.
        _ = self.outbox.close(AMQPError(scope: .connection, condition: .closed))
    }

    /// The loop counts this decision.
    @Test func aDecisionBehindTheEndOfTheLinkIsStale() {
        self.end(undecided: 1)
        #expect(self.settler.settle(self.settlement(1)) == .stale)
        var mail = Outbox.Mail()
        self.outbox.take(&mail, releasing: [], at: 0)
        #expect(mail.settlements.count == 1 && self.unsent.count == 0)
    }

    /// The decision is counted at once, because the loop that would count it has ended.
    @Test func aDecisionBehindTheEndOfTheConnectionIsCountedAtOnce() {
        self.end(undecided: 3)
        _ = self.outbox.close(AMQPError(scope: .connection, condition: .connectionLost))
        #expect(self.settler.settle(self.settlement(1)) == .stale)
        #expect(self.settler.settle(contentsOf: [self.settlement(1), self.settlement(2)]) == .stale)
        #expect(self.unsent.count == 2)
    }

    @Test func aTagIsKeptInPlaceWithItsFormat() {
        func stored(_ bytes: [UInt8]) -> StoredTag { bytes.withUnsafeBytes { StoredTag($0) } }
        func bytes(_ tag: StoredTag) -> [UInt8] {
            withUnsafeBytes(of: tag.storage) { Array($0.prefix(Int(tag.count))) }
        }
        let longest = (1...32).map { UInt8($0) }
        for tag in [[], [9], longest] as [[UInt8]] { #expect(bytes(stored(tag)) == tag && stored(tag).format == 0) }
        let marked = stored(MarkedTag.bytes([1, 2], format: 77))
        #expect(bytes(marked) == [1, 2] && marked.format == 77)
        // A tag that is longer than AMQP allows is cut.
        #expect(bytes(stored(longest + [33])) == longest)
    }
}
