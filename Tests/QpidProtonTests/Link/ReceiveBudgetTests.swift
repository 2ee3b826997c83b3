// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Synchronization
import Testing

@testable import QpidProton

/// Received bytes in memory stay within a budget that receivers, sessions and connections share.
@Suite(.deadline)
struct ReceiveBudgetTests {
    private func configuration(_ budget: AMQPMemoryBudget) -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.receiveBudget = budget
        configuration.maxFrameSize = 4_096
        return configuration
    }

    private func send(_ peer: InMemoryPeer, _ count: Int, _ bytes: Int, on links: [Int]) async throws {
        try await peer.run { peer in
            for _ in 0..<count { for link in links { _ = peer.send(payload(bytes), on: peer.links[link]) } }
        }
    }

    @Test func severalReceiversStayWithinTheBudget() async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        try await withSession(configuration: self.configuration(budget)) { session, peer in
            var receivers: [AMQPReceiver] = []
            for name in ["a", "b", "c"] {
                receivers.append(try await session.openReceiver(from: name, window: .messages(1_000)))
            }
            // The peer has far more messages than fit, and the excess waits there.
            try await self.send(peer, 100, 20_000, on: [0, 1, 2])
            await peer.settle()
            #expect(budget.used > 700_000)
            #expect(budget.peak.bytes <= 1 << 20)
            #expect(try await session.connection.snapshot().receiveBudget?.used == budget.used)
            var counts = [0, 0, 0]
            for _ in 0..<400 where counts != [100, 100, 100] {
                for (index, receiver) in receivers.enumerated() {
                    while let delivery = receiver.poll() {
                        counts[index] += 1
                        delivery.accept()
                    }
                }
                await peer.settle()
                try #require(budget.used.bytes <= 1 << 20)
            }
            #expect(counts == [100, 100, 100])
            #expect(budget.used == 0)
            #expect(budget.peak.bytes <= 1 << 20)
        }
    }

    @Test func unsettledMessagesHoldTheBudgetUnlessConfigured() async throws {
        for creditReturn in [AMQPReceiver.CreditReturn.onSettlement, .onReceipt] {
            let budget = AMQPMemoryBudget(limit: .mebibytes(1))
            try await withSession(configuration: self.configuration(budget)) { session, peer in
                var settings = AMQPReceiver.Configuration(source: "q", window: .messages(100))
                settings.creditReturn = creditReturn
                let receiver = try await session.openReceiver(settings)
                try await self.send(peer, 10, 10_000, on: [0])
                #expect(budget.used == 100_000)
                var deliveries: [AMQPDelivery] = []
                for _ in 0..<10 { deliveries.append(try #require(try await receiver.next())) }
                await peer.settle()
                #expect(budget.used == (creditReturn == .onReceipt ? 0 : 100_000))
                deliveries.acceptAll()
                await peer.settle()
                #expect(budget.used == 0)
            }
            #expect(budget.used == 0)
        }
    }

    @Test func connectionsShareABudgetAndReleaseTheirBytesWhenTheyEnd() async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        try await withSession(configuration: self.configuration(budget)) { first, peer in
            let receiver = try await first.openReceiver(from: "q", window: .messages(1_000))
            try await withSession(configuration: self.configuration(budget)) { second, other in
                let held = try await second.openReceiver(from: "q", window: .messages(1_000))
                defer { withExtendedLifetime(held) {} }
                try await self.send(other, 100, 20_000, on: [0])
                await other.settle()
                #expect(budget.used > 600_000)
                try await self.send(peer, 100, 20_000, on: [0])
                await peer.settle()
                #expect(receiver.bufferedMessages < 15)
                #expect(budget.peak.bytes <= 1 << 20)
            }
            // The second connection has ended, and the first continues on its own.
            try await eventually("the first goes on") {
                await peer.settle()
                return receiver.bufferedMessages >= 25
            }
            #expect(budget.peak.bytes <= 1 << 20)
        }
        #expect(budget.used == 0)
    }

    @Test func aMessageThatCannotFitIsRefused() async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        try await withSession(configuration: self.configuration(budget)) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, 1, 1_000_000, on: [0])
            await expectError(.linkMessageSizeExceeded) { try await receiver.next() }
            await peer.settle()
            #expect(budget.used == 0)
            #expect(session.error == nil)
        }
    }

    @Test func aStreamedMessageOfAnySizeFits() async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        try await withSession(configuration: self.configuration(budget)) { session, peer in
            var settings = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            settings.streamsMessages = true
            settings.streamBuffer = .kibibytes(64)
            settings.maxMessageSize = nil
            let receiver = try await session.openReceiver(settings)
            let bytes = try AMQPMessage(body: payload(2_000_000)).encoded()
            try await peer.run { _ = $0.send(bytes, on: $0.links[0]) }
            let delivery = try #require(try await receiver.next())
            #expect(try await delivery.body.collect(upTo: .mebibytes(4)).readableBytes == 2_000_000)
            delivery.accept()
            await peer.settle()
            #expect(budget.used == 0)
            #expect(budget.peak.bytes <= 1 << 20)
        }
    }
}
