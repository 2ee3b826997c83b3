// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// The self-tuning window, which is the default.
@Suite(.deadline)
struct ReceiverAutomaticTests {
    private static let small: AMQPConnection.Configuration = {
        var configuration = ReceiverDrainTests.slow
        configuration.maxFrameSize = 4_096
        return configuration
    }()

    private func send(_ peer: InMemoryPeer, _ sizes: [Int], settled: Bool = false) async throws {
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0], settled: settled) }
        }
    }

    @Test func theSelfTuningWindowIsTheDefault() async throws {
        #expect(AMQPReceiver.Configuration().window == .automatic)
        #expect(AMQPReceiver.Window.automatic == .automatic(budget: .mebibytes(16)))
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            await peer.settle()
            #expect(receiver.credit == CreditTuner.start)
            #expect(try await peer.run { pn_link_remote_max_message_size($0.links[0]) } == 64 << 20)
            let tiny = try await session.openReceiver(from: "q", window: .automatic(budget: 1))
            await peer.settle()
            #expect(tiny.credit == 1)
        }
    }

    /// The application holds all messages that it has received, and waits for the next one.
    @Test func noMessageIsTooLargeForAWaitingTask() async throws {
        try await withSession(configuration: Self.small) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .automatic(budget: 10_000))
            try await self.send(peer, [50_000, 70_000, 5, 200_000, 9_999])
            var held: [AMQPDelivery] = []
            for size in [50_000, 70_000, 5, 200_000, 9_999] {
                let next = begin { try await receiver.next() }
                let delivery = try #require(try await next.value)
                #expect(delivery.payload.readableBytes == size)
                held.append(delivery)
            }
            #expect(receiver.error == nil)
            // Two waiting tasks receive one message each.
            let waiting = (0..<2).map { _ in begin { try await receiver.next()?.payload.readableBytes } }
            await peer.settle()
            try await self.send(peer, [60_000, 80_000])
            #expect(Set([try await waiting[0].value, try await waiting[1].value]) == [60_000, 80_000])
            held.acceptAll()
        }
    }

    @Test(arguments: [true, false]) func aReceiverThatHoldsAllMessagesGetsMoreCredit(hasBytes: Bool) async throws {
        try await withSession { session, peer in
            let window = AMQPReceiver.Window.automatic(budget: hasBytes ? .mebibytes(16) : 20_000)
            let receiver = try await session.openReceiver(from: "q", window: window)
            try await self.send(peer, Array(repeating: 1_000, count: 400))
            var held: [AMQPDelivery] = []
            for _ in 0..<400 {
                let next = begin { try await receiver.next() }
                held.append(try #require(try await next.value))
            }
            held.acceptAll()
            await peer.settle()
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 0)
        }
    }

    /// The credit was meant for small messages, but large ones arrive and wait in the session's window.
    @Test(arguments: [AMQPReceiver.CreditReturn.onSettlement, .onReceipt], [true, false])
    func theBudgetLimitsReceivedBytes(creditReturn: AMQPReceiver.CreditReturn, isSettled: Bool) async throws {
        try await withSession(configuration: Self.small, session: .init(incomingCapacity: 16_384)) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .automatic(budget: 100_000))
            configuration.creditReturn = creditReturn
            let receiver = try await session.openReceiver(configuration)
            let sizes =
                Array(repeating: 10, count: 400) + Array(repeating: 30_000, count: 20) + [150_000, 0, 0, 99_999]
            try await self.send(peer, sizes, settled: isSettled)
            for size in sizes {
                await peer.settle()
                #expect(receiver.bufferedBytes <= 150_000)
                let next = begin { try await receiver.next() }
                let delivery = try #require(try await next.value)
                #expect(delivery.payload.readableBytes == size)
                delivery.accept()
            }
            #expect(receiver.bufferedBytesPeak <= 150_000)
            #expect(receiver.error == nil)
        }
    }

    /// The peer is ten milliseconds away, and messages are handled at once. The window grows until it no longer limits
    /// the rate.
    @Test func growsWithTheDistance() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, Array(repeating: 10, count: 20_000))
            #expect(receiver.bufferedMessages == CreditTuner.start)
            var most = 0
            for _ in 0..<15 {
                // The granted credit reaches the peer with a delay.
                try await peer.run { $0.toPeer.allowance = 0 }
                while let delivery = receiver.poll() { delivery.accept() }
                await peer.advance(by: .milliseconds(10), steps: 2)
                try await peer.run { $0.toPeer.allowance = nil }
                await peer.settle()
                most = max(most, receiver.bufferedMessages)
            }
            #expect(most > 300)
        }
    }
}
