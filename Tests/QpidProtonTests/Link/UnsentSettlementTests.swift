// SPDX-License-Identifier: Apache-2.0

import CProton
import Foundation
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// Decisions that do not reach the socket before their link ends are counted, and logged once per link.
@Suite(.deadline(minutes: 10))
struct UnsentSettlementTests {
    private static let unsent = "were not sent"

    private func take(_ receiver: AMQPReceiver, _ count: Int) async throws -> [AMQPDelivery] {
        var deliveries: [AMQPDelivery] = []
        while deliveries.count < count { deliveries.append(try #require(try await receiver.next())) }
        return deliveries
    }

    private func send(_ peer: InMemoryPeer, _ sizes: Range<Int>) async throws {
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0]) }
        }
    }

    @Test(arguments: LinkEnd.allCases) func handlersThatDecideAfterTheEndAreCounted(end: LinkEnd) async throws {
        let log = LogLines()
        try await withSession(logger: log.logger) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 0..<5)
            let held = try await self.take(receiver, 5)
            held[4].accept()
            // The decision waits behind undecided messages for a while before it is sent.
            await peer.advance(by: .milliseconds(100))
            try await end.run(receiver, peer)
            #expect(receiver.unsentSettlements == 0)
            for (index, delivery) in held.prefix(4).enumerated() {
                delivery.accept()
                await peer.settle()
                #expect(receiver.unsentSettlements == index + 1)
            }
            // Each message counts once, and a message whose decision was written does not count.
            held.acceptAll()
            held[4].accept(includingEarlier: true)
            await peer.settle()
            #expect(receiver.unsentSettlements == 4)
            let lines = log.lines(with: Self.unsent)
            #expect(lines.count == 1 && lines.first?.contains("\"amqp.messages\": 1") == true, "\(lines)")
            #expect(lines.first?.contains(end.words) == true, "\(lines)")
        }
    }

    @Test func decisionsDuringTheCloseAreCounted() async throws {
        let log = LogLines()
        try await withSession(logger: log.logger) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 0..<4)
            var held: [AMQPDelivery] = []
            for try await delivery in receiver {
                held.append(delivery)
                if held.count == 4 { break }
            }
            begin { try await receiver.close().check() }
            try await eventually("the link closes") { try await peer.count(.detach) == 1 }
            held[3].accept(includingEarlier: true)
            await peer.settle()
            #expect(receiver.unsentSettlements == 4)
            #expect(log.lines(with: Self.unsent).first?.contains("\"amqp.messages\": 4") == true)
        }
    }

    /// The socket has not accepted the write that carries the decisions.
    @Test(arguments: [true, false]) func decisionsOnTheirWayToTheSocketAreCounted(isWritten: Bool) async throws {
        let log = LogLines()
        try await withSession(logger: log.logger) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 0..<8)
            let held = try await self.take(receiver, 8)
            try await peer.run { $0.toPeer.allowance = 0 }
            for delivery in held.prefix(5) { delivery.accept() }
            await peer.settle()
            await peer.advance(by: .milliseconds(100))
            // The write waits.
            #expect(try await peer.run { $0.handler.unwrittenBytes } > 0)
            if isWritten { try await peer.run { $0.toPeer.allowance = nil } }
            // The neighbours of these are undecided, so no disposition is sent yet.
            held[6].accept()
            await peer.settle()
            try await peer.loseConnection()
            await peer.settle()
            #expect(receiver.unsentSettlements == (isWritten ? 1 : 6))
            let lines = log.lines(with: Self.unsent)
            #expect(lines.count == 1 && lines.first?.contains("\"amqp.messages\": \(isWritten ? 1 : 6)") == true)
        }
    }

    /// The peer ends the link while decisions wait for their neighbours.
    @Test func decisionsThatWaitForTheirNeighboursAreCounted() async throws {
        let log = LogLines()
        try await withSession(logger: log.logger) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 0..<6)
            let held = try await self.take(receiver, 6)
            for delivery in held.dropFirst(3) { delivery.accept() }
            await peer.settle()
            try await LinkEnd.detachWithError.run(receiver, peer)
            #expect(receiver.unsentSettlements == 3)
            #expect(log.lines(with: Self.unsent).count == 1)
            withExtendedLifetime(held) {}
        }
    }

    /// A close by this side sends all decisions, so none remain unsent.
    @Test(arguments: [LinkEnd.ownError, .ownSessionEnd, .ownConnectionClose])
    func aCloseOfThisSideSendsAllDecisions(end: LinkEnd) async throws {
        let log = LogLines()
        try await withSession(logger: log.logger, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 0..<6)
            let held = try await self.take(receiver, 6)
            for delivery in held.dropFirst(2) { delivery.accept() }
            await peer.settle()
            try await end.run(receiver, peer)
            #expect(receiver.unsentSettlements == 0)
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_ACCEPTED), count: 4))
            #expect(log.lines(with: Self.unsent).isEmpty)
            withExtendedLifetime(held) {}
        }
    }

    // MARK: Random cuts

    /// Returns the ids of the deliveries that the library accepted, as the peer saw them on the wire.
    private func accepted(_ peer: InMemoryPeer) async throws -> [UInt32] {
        try await peer.framesOfLibrary().flatMap { frame -> [UInt32] in
            guard frame.code == .disposition, frame.field(0) == .bool(true),
                frame.field(4) == .described(0x24, .list([])), case .uint(let first) = frame.field(1)
            else { return [] }
            guard case .uint(let last) = frame.field(2) else { return [first] }
            return Array(first...last)
        }
    }

    /// The decisions that the peer saw and those that are reported as unsent add up to all decisions.
    @Test func everyDecisionIsSeenOrReported() async throws {
        let rounds = ProcessInfo.processInfo.environment["QPID_PROTON_LONG_TESTS"] == nil ? 50 : 1_000
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        var unsent = 0
        for round in 0..<rounds {
            let end = LinkEnd.allCases[round % LinkEnd.allCases.count]
            unsent += try await self.cut(end, seed: random.next())
        }
        // The test proves something only if some decisions were unsent.
        #expect(unsent > 0)
    }

    /// Four handlers decide while the link ends. Returns the number of decisions that were reported as unsent.
    private func cut(_ end: LinkEnd, seed: UInt64) async throws -> Int {
        var random = SeededGenerator(seed: seed)
        let log = LogLines()
        var reported = 0
        var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(60))
        configuration.settlementDelay = [.zero, .milliseconds(5)].randomElement(using: &random) ?? .zero
        let isBlocked = Bool.random(using: &random)
        let settings = configuration
        try await withSession(logger: log.logger) { session, peer in
            let receiver = try await session.openReceiver(settings)
            try await self.send(peer, 0..<50)
            let held = try await self.take(receiver, Int.random(in: 1...50, using: &random)).shuffled(using: &random)
            let isEnding = Mutex(false)
            let quarter = (held.count + 3) / 4
            let handlers = stride(from: 0, to: held.count, by: quarter).map { start in
                let part = Array(held[start..<min(start + quarter, held.count)])
                let seed = random.next()
                // The handler decides the last messages while the link ends, or later.
                let early = Int.random(in: 0...part.count, using: &random)
                return Task { @Sendable in
                    var random = SeededGenerator(seed: seed)
                    var rest = part[...]
                    while !rest.isEmpty {
                        while rest.startIndex >= early, !isEnding.withLock({ $0 }) { await Task.yield() }
                        let batch = rest.prefix(Int.random(in: 1...3, using: &random))
                        rest = rest.dropFirst(batch.count)
                        if batch.count == 1 { batch.first?.accept() } else { batch.acceptAll() }
                        for _ in 0..<Int.random(in: 0...20, using: &random) { await Task.yield() }
                    }
                }
            }
            if isBlocked { try await peer.run { $0.toPeer.allowance = 0 } }
            for _ in 0..<Int.random(in: 0...100, using: &random) { await Task.yield() }
            isEnding.withLock { $0 = true }
            for _ in 0..<Int.random(in: 0...20, using: &random) { await Task.yield() }
            try await end.run(receiver, peer)
            for handler in handlers { await handler.value }
            try await peer.run { $0.toPeer.allowance = nil }
            await peer.settle()
            let seen = try await self.accepted(peer)
            #expect(Set(seen).count == seen.count)
            reported = receiver.unsentSettlements
            #expect(seen.count + reported == held.count, "\(end), seed \(seed), blocked: \(isBlocked)")
            #expect(log.lines(with: Self.unsent).count == (reported > 0 ? 1 : 0), "\(end), seed \(seed)")
            let result = await receiver.close()
            #expect(
                result.settlementsNotWritten == reported && result.deliveriesNotSettled == 0,
                "\(end), seed \(seed)"
            )
            try await self.checkResults(of: held, Set(seen), "\(end), seed \(seed)")
        }
        return reported
    }

    /// Checks that the settlement result of each delivery agrees with the peer's view. The peer numbers deliveries from
    /// 0.
    private func checkResults(of deliveries: [AMQPDelivery], _ seen: Set<UInt32>, _ what: String) async throws {
        for delivery in deliveries {
            let isSeen = seen.contains(UInt32(delivery.sequence - 1))
            switch try await delivery.settled() {
            case .settled: #expect(isSeen, "\(what): \(delivery.sequence) was not written")
            case .notWritten: #expect(!isSeen, "\(what): \(delivery.sequence) was written")
            case .inDoubt: break
            case .settledBySender(let outcome): Issue.record("\(what): the sender settled with \(outcome)")
            }
        }
    }
}
