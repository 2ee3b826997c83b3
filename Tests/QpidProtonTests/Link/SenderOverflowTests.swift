// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The fate of a message without room, under each policy.
@Suite(.deadline)
struct SenderOverflowTests {
    private let limit = AMQPSession.Configuration(sendLimit: .init(high: 1_000))

    private func configuration(_ overflow: AMQPOverflow, _ target: String = "q") -> AMQPSender.Configuration {
        var configuration = AMQPSender.Configuration(target: AMQPTarget(address: target))
        configuration.overflow = overflow
        return configuration
    }

    private func isDropped(_ transfer: AMQPTracker) -> Bool {
        if case .failure(let error)? = transfer.result { error.condition == .dropped } else { false }
    }

    @Test func theOldestAreDropped() async throws {
        try await withSession(session: self.limit, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(self.configuration(.dropOldest))
            var transfers: [AMQPTracker] = []
            for number in 0..<13 {
                transfers.append(try await sender.enqueue(encoded: payload(100, fill: UInt8(number))))
            }
            #expect(transfers.map { self.isDropped($0) } == (0..<13).map { $0 < 3 })
            #expect(sender.droppedMessages == 3 && sender.droppedBytes == 300)
            #expect(session.outgoingBytes == 1_000 && session.outgoingBytesPeak == 1_000)
            // A larger message replaces as many older ones as it needs.
            let large = try await sender.enqueue(encoded: payload(250, fill: 13))
            #expect(sender.droppedMessages == 6 && session.outgoingBytes == 950)
            await expectError(.dropped) { try await transfers[5].outcome() }
            await expectError(.wouldBlock) { try sender.trySend(encoded: payload(100)) }
            try await peer.run { pn_link_flow($0.links[0], 20) }
            #expect(try await large.outcome() == .accepted)
            let left = try await peer.run { $0.received.map { $0.bytes.getInteger(at: 0, as: UInt8.self) } }
            #expect(left == (6...13).map { UInt8($0) })
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func theNewMessageIsDroppedIfOtherLinksFillTheLimit() async throws {
        try await withSession(session: self.limit, { PeerScript(credit: nil) }) { session, peer in
            let other = try await session.openSender(to: "other")
            let sender = try await session.openSender(self.configuration(.dropOldest))
            try other.trySend(encoded: payload(900))
            let kept = try await sender.enqueue(encoded: payload(40))
            let dropped = try await sender.enqueue(encoded: payload(200))
            let error = await expectError(.dropped) { try await dropped.outcome() }
            #expect(error?.scope == .delivery)
            #expect(
                error?.fate == .dropped && error?.detail.hasPrefix("the session's send limit of 1000 B is full") == true
            )
            #expect(error?.blockedBy == [.sessionLimit, .credit])
            #expect(kept.result == nil)
            #expect(sender.droppedMessages == 1 && sender.droppedBytes == 200)
            #expect(session.outgoingBytes == 940)
            try await peer.run { pn_link_flow($0.links[1], 5) }
            #expect(try await kept.outcome() == .accepted)
        }
    }

    /// A message whose first byte has left is never dropped.
    @Test func aStartedMessageIsNotDropped() async throws {
        try await withSession(session: .init(sendLimit: .init(high: 900_000))) { session, peer in
            let sender = try await session.openSender(self.configuration(.dropOldest))
            try await peer.run { $0.toPeer.allowance = 0 }
            let begun = try await sender.enqueue(encoded: payload(800_000))
            await peer.settle()
            let behind = try await sender.enqueue(encoded: payload(100_000))
            let third = try await sender.enqueue(encoded: payload(100_000))
            #expect(self.isDropped(behind) && third.result == nil)
            let large = try await sender.enqueue(encoded: payload(200_000))
            #expect(self.isDropped(large) && third.result == nil)
            #expect(session.outgoingBytes <= 900_000)
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await begun.outcome() == .accepted)
            #expect(try await third.outcome() == .accepted)
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func manyTasksDropTheOldest() async throws {
        try await withSession(session: self.limit, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(self.configuration(.dropOldest))
            let transfers = try await withThrowingTaskGroup(of: [AMQPTracker].self) { group in
                for task in 0..<8 {
                    group.addTask {
                        var transfers: [AMQPTracker] = []
                        for number in 0..<40 {
                            let size = 1 + (task * 40 + number) * 37 % 400
                            transfers.append(try await sender.enqueue(encoded: payload(size)))
                        }
                        return transfers
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            await peer.settle()
            #expect(transfers.count == 320)
            #expect(transfers.count { self.isDropped($0) } == sender.droppedMessages)
            #expect(session.outgoingBytes <= 1_000 && session.outgoingBytesPeak <= 1_000)
            let bytes = (0..<320).reduce(0) { $0 + 1 + $1 * 37 % 400 }
            #expect(session.outgoingBytes.bytes == bytes - sender.droppedBytes.bytes)
            try await peer.run { pn_link_flow($0.links[0], 320) }
            #expect(try await peer.run { $0.received.count } == 320 - sender.droppedMessages)
            #expect(session.outgoingBytes == 0)
        }
    }

    /// A streamed message never loses a part, whatever waits behind it.
    @Test func noPartOfAStreamIsDropped() async throws {
        try await withSession(session: self.limit, { PeerScript(credit: nil) }) { session, peer in
            let other = try await session.openSender(to: "other")
            let sender = try await session.openSender(self.configuration(.dropOldest))
            try other.trySend(encoded: payload(800))
            let fed = FedBody()
            // The first piece has room, and the second waits for room.
            fed.feed(payload(100))
            fed.feed(payload(500))
            let stream = begin { try await sender.stream(body: fed) }
            try await eventually("the first piece is accepted") { sender.outgoingBytes > 100 }
            let behind = begin { try await sender.enqueue(encoded: payload(50)) }
            await peer.settle()
            #expect(sender.droppedMessages == 0)
            fed.end()
            await peer.settle()
            try await peer.run { peer in for link in peer.links { pn_link_flow(link, 10) } }
            #expect(try await stream.value == .accepted)
            let sizes = try await peer.run { $0.received.map(\.bytes.readableBytes) }
            #expect(sizes.contains { $0 > 600 && $0 < 800 })
            _ = try await behind.value
        }
    }

    /// No other message is sent between the parts of a streamed message that has replaced older messages.
    @Test func noMessagePassesBetweenTheParts() async throws {
        try await withSession(session: self.limit, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(self.configuration(.dropOldest))
            let first = try await sender.enqueue(encoded: payload(600))
            let second = try await sender.enqueue(encoded: payload(400))
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            let behind = begin { try await sender.enqueue(encoded: payload(10)) }
            try await eventually("the oldest was dropped") { first.result != nil }
            await peer.settle()
            #expect(!behind.isDone)
            for _ in 0..<4 { fed.feed(payload(300)) }
            fed.end()
            await peer.settle()
            try await peer.run { pn_link_flow($0.links[0], 10) }
            #expect(try await second.outcome() == .accepted)
            #expect(try await stream.value == .accepted)
            #expect(try await behind.value.outcome() == .accepted)
        }
    }

    /// The message that replaces a dropped one receives its room in a shared budget.
    @Test func aBudgetsBytesAreExchanged() async throws {
        var configuration = AMQPConnection.Configuration()
        let budget = AMQPMemoryBudget(limit: 1_000)
        configuration.sendBudget = budget
        try await withSession(configuration: configuration, { PeerScript(credit: nil) }) { session, _ in
            let sender = try await session.openSender(self.configuration(.dropOldest))
            #expect(budget.tryReserve(500))
            let first = try await sender.enqueue(encoded: payload(400))
            let second = try await sender.enqueue(encoded: payload(300))
            #expect(self.isDropped(first) && second.result == nil)
            #expect(budget.used == 800)
            let third = try await sender.enqueue(encoded: payload(600))
            #expect(self.isDropped(third) && second.result == nil)
            #expect(budget.used == 800 && budget.peak <= 1_000)
        }
        #expect(budget.used == 500)
    }

    @Test func theNewestIsDropped() async throws {
        try await withSession(session: self.limit, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(self.configuration(.dropNewest))
            var transfers: [AMQPTracker] = []
            for _ in 0..<12 { transfers.append(try await sender.enqueue(encoded: payload(100))) }
            #expect(transfers.map { self.isDropped($0) } == (0..<12).map { $0 >= 10 })
            #expect(sender.droppedMessages == 2 && sender.droppedBytes == 200)
            #expect(session.outgoingBytes == 1_000)
            await expectError(.dropped) { try await sender.send(AMQPMessage(body: payload(100))) }
            await expectError(.wouldBlock) { try sender.trySend(encoded: payload(100)) }
            try await peer.run { pn_link_flow($0.links[0], 20) }
            #expect(try await peer.run { $0.received.count } == 10)
            try await sender.close().check()
            await expectError(.closed) { try await sender.enqueue(encoded: payload(1)) }
        }
    }

    @Test func aFailureReportsItsCause() async throws {
        try await withSession(session: self.limit, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(self.configuration(.fail))
            try await sender.enqueue(encoded: payload(1_000))
            await peer.settle()
            let error = await expectError(.wouldBlock) { try await sender.enqueue(encoded: payload(1)) }
            #expect(error?.blockedBy == [.sessionLimit, .credit])
            let sent = await expectError(.wouldBlock) { try await sender.send(AMQPMessage(body: "x")) }
            #expect(sent?.blockedBy == [.sessionLimit, .credit])
            #expect(sender.droppedMessages == 0)
        }
    }
}
