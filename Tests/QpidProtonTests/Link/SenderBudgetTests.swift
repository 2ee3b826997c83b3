// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Connections that share a budget.
@Suite(.deadline)
struct SenderBudgetTests {
    private func withTwo(
        _ budget: AMQPMemoryBudget,
        _ body: (_ first: (AMQPSender, InMemoryPeer), _ second: (AMQPSender, InMemoryPeer)) async throws -> Void
    ) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.sendBudget = budget
        try await withSession(configuration: configuration, { PeerScript(credit: nil) }) { session, firstPeer in
            let first = try await session.openSender(to: "q")
            try await withSession(configuration: configuration, { PeerScript(credit: nil) }) { session, secondPeer in
                let second = try await session.openSender(to: "q")
                try await body((first, firstPeer), (second, secondPeer))
            }
        }
    }

    @Test func theBudgetHoldsBoth() async throws {
        let budget = AMQPMemoryBudget(limit: 1_000)
        try await self.withTwo(budget) { first, second in
            try first.0.trySend(encoded: payload(600))
            try second.0.trySend(encoded: payload(400))
            #expect(budget.used == 1_000)
            let error = await expectError(.wouldBlock) { try second.0.trySend(encoded: payload(1)) }
            #expect(error?.blockedBy.first == .memoryBudget)
            await second.1.settle()
            let later = await expectError(.wouldBlock) { try second.0.trySend(encoded: payload(200)) }
            #expect(later?.blockedBy == [.memoryBudget, .credit])
            let waiting = begin { try await second.0.enqueue(encoded: payload(200)) }
            await second.1.settle()
            #expect(!waiting.isDone)
            // Bytes that leave the first connection make room for the second.
            try await first.1.run { pn_link_flow($0.links[0], 1) }
            _ = try await waiting.value
            #expect(budget.used == 600)
            try await second.1.run { pn_link_flow($0.links[0], 10) }
            #expect(budget.used == 0 && budget.peak == 1_000)
        }
        #expect(budget.used == 0)
    }

    @Test(arguments: [false, true])
    func theEndOfOneConnectionFreesTheOther(byLoss: Bool) async throws {
        let budget = AMQPMemoryBudget(limit: 100_000)
        try await self.withTwo(budget) { first, second in
            // Some bytes have been passed to the socket, which loses them.
            try await first.1.run { peer in
                peer.toPeer.allowance = 0
                pn_link_flow(peer.links[0], 1)
            }
            try first.0.trySend(encoded: payload(60_000))
            try first.0.trySend(encoded: payload(40_000))
            await first.1.settle()
            let waiting = begin { try await second.0.enqueue(encoded: payload(80_000)) }
            let behind = begin { try await first.0.enqueue(encoded: payload(1)) }
            await second.1.settle()
            #expect(!waiting.isDone && budget.used == 100_000)
            if byLoss {
                try await first.1.loseConnection()
            } else {
                let closing = begin { try await first.0.session.connection.close().check() }
                await first.1.settle()
                try await first.1.run { $0.toPeer.allowance = nil }
                _ = try? await closing.value
            }
            _ = try await waiting.value
            await expectError(byLoss ? .connectionLost : .closed) { try await behind.value }
            #expect(budget.used == 80_000)
        }
        #expect(budget.used == 0)
    }

    @Test func cancellingTheFirstWaiterLetsTheOtherPass() async throws {
        let budget = AMQPMemoryBudget(limit: 1_000)
        try await self.withTwo(budget) { first, second in
            try first.0.trySend(encoded: payload(100))
            let large = begin { try await first.0.enqueue(encoded: payload(1_000)) }
            await first.1.settle()
            let small = begin { try await second.0.enqueue(encoded: payload(100)) }
            await second.1.settle()
            #expect(!small.isDone)
            large.cancel()
            await expectError(.cancelled) { try await large.value }
            _ = try await small.value
            #expect(budget.used == 200)
        }
        #expect(budget.used == 0)
    }

    /// A cancelled message behind the first one of its link does not cost the connection its place.
    @Test func cancellingALaterWaiterKeepsTheConnectionsPlace() async throws {
        let budget = AMQPMemoryBudget(limit: 1_000, low: 500)
        try await self.withTwo(budget) { first, second in
            try first.0.trySend(encoded: payload(500))
            try second.0.trySend(encoded: payload(400))
            let early = begin { try await first.0.enqueue(encoded: payload(600)) }
            await first.1.settle()
            let behind = begin { try await first.0.enqueue(encoded: payload(1)) }
            let late = begin { try await second.0.enqueue(encoded: payload(600)) }
            await first.1.settle()
            await second.1.settle()
            behind.cancel()
            await expectError(.cancelled) { try await behind.value }
            // The level falls to 400 bytes, which leaves room for one of the messages.
            try await first.1.run { pn_link_flow($0.links[0], 1) }
            _ = try await early.value
            await second.1.settle()
            #expect(!late.isDone)
            try await first.1.run { pn_link_flow($0.links[0], 1) }
            _ = try await late.value
            #expect(budget.used == 1_000)
        }
        #expect(budget.used == 0)
    }

    @Test func aMessageLargerThanTheBudgetPassesAlone() async throws {
        let budget = AMQPMemoryBudget(limit: 1_000)
        try await self.withTwo(budget) { first, second in
            try first.0.trySend(encoded: payload(10))
            let large = begin { try await second.0.enqueue(encoded: payload(50_000)) }
            await second.1.settle()
            #expect(!large.isDone)
            try await first.1.run { pn_link_flow($0.links[0], 1) }
            let transfer = try await large.value
            #expect(budget.used == 50_000)
            try await second.1.run { pn_link_flow($0.links[0], 1) }
            #expect(try await transfer.outcome() == .accepted)
            #expect(budget.used == 0)
        }
    }
}
