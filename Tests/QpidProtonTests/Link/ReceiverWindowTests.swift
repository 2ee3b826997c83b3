// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The windows of a receiver other than a fixed number of messages.
@Suite(.deadline)
struct ReceiverWindowTests {
    private static let slow: AMQPConnection.Configuration = {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        configuration.maxFrameSize = 4_096
        return configuration
    }()

    /// Repeats 100 times, because the task and the loop run on different threads.
    @Test func anOpenedReceiverHasItsCredit() async throws {
        try await withSession { session, _ in
            for _ in 0..<100 {
                let receiver = try await session.openReceiver(from: "q", window: .messages(10))
                #expect(receiver.credit == 10)
                await receiver.close()
            }
        }
    }

    /// The peer uses its credit for messages that are far larger than the earlier ones.
    @Test(arguments: [AMQPReceiver.CreditReturn.onSettlement, .onReceipt], [true, false])
    func bytesAreNeverExceeded(creditReturn: AMQPReceiver.CreditReturn, isSettled: Bool) async throws {
        let session = AMQPSession.Configuration(incomingCapacity: 16_384)
        try await withSession(configuration: Self.slow, session: session) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .bytes(100_000))
            configuration.creditReturn = creditReturn
            let receiver = try await session.openReceiver(configuration)
            let sizes =
                Array(repeating: 10, count: 400) + Array(repeating: 30_000, count: 20) + [100_000, 0, 0, 99_999]
            try await peer.run { peer in
                for size in sizes { peer.send(payload(size), on: peer.links[0], settled: isSettled) }
            }
            for size in sizes {
                await peer.settle()
                #expect(receiver.bufferedBytes <= 100_000)
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload.readableBytes == size)
                delivery.accept()
            }
            #expect(receiver.bufferedBytesPeak <= 100_000)
            // The large messages used credit that was granted for many small ones.
            #expect(receiver.bufferedBytesPeak > 60_000)
            #expect(receiver.error == nil)
        }
    }

    @Test func creditOfBytesFollowsTheSizes() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .bytes(.kibibytes(256)))
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 4)
            try await peer.run { peer in
                for _ in 0..<500 { peer.send(payload(100), on: peer.links[0]) }
            }
            for _ in 0..<500 { try #require(try await receiver.next()).accept() }
            await peer.settle()
            // Up to half of the window is not topped up yet.
            #expect(receiver.credit > 400)
            #expect(receiver.credit <= 1_024)
        }
    }

    @Test func aMessageLargerThanTheBytesClosesItsLinkAlone() async throws {
        try await withSession(configuration: Self.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "a", window: .bytes(10_000))
            let other = try await session.openReceiver(from: "b")
            #expect(try await peer.run { pn_link_remote_max_message_size($0.links[0]) } == 10_000)
            try await peer.run { peer in
                peer.send(payload(10_001), on: peer.links[0])
                peer.send(payload(10_001), on: peer.links[1])
            }
            await expectError(.linkMessageSizeExceeded) { try await receiver.next() }
            #expect(try await other.next()?.payload == payload(10_001))
        }
    }

    /// Bytes that wait in Proton for room are part of the session's window, and return to it when the link ends.
    @Test func closingAFullReceiverReturnsTheWindow() async throws {
        let session = AMQPSession.Configuration(incomingCapacity: 16_384)
        try await withSession(configuration: Self.slow, session: session) { session, peer in
            let other = try await session.openReceiver(from: "b")
            for round in 1...5 {
                let receiver = try await session.openReceiver(from: "a", window: .bytes(100_000))
                try await peer.run { peer in
                    for _ in 0..<4 { peer.send(payload(60_000), on: peer.links[round]) }
                }
                #expect(receiver.bufferedMessages == 1)
                try await receiver.close().check()
            }
            try await peer.run { peer in
                for size in 1...100 { peer.send(payload(size * 100), on: peer.links[0]) }
            }
            for size in 1...100 {
                let delivery = try #require(try await other.next())
                #expect(delivery.payload.readableBytes == size * 100)
                delivery.accept()
            }
        }
    }

    @Test func receiveWithATimeoutOfAFullWindowOfBytes() async throws {
        try await withSession(configuration: Self.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .bytes(100_000))
            let sizes = [60_000, 60_000, 60_000]
            try await peer.run { peer in
                for size in sizes { peer.send(payload(size), on: peer.links[0]) }
            }
            let first = try #require(try await receiver.receive(timeout: .seconds(1)))
            // There is no room for the second message while the first is held, so the answer to the drain waits too.
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(!waiting.isDone)
            first.accept()
            let second = try #require(try await waiting.value)
            second.accept()
            try #require(try await receiver.next()).accept()
            let last = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(try await last.value == nil)
            #expect(receiver.error == nil)
        }
    }

    @Test func anOnDemandWindowPrefetchesNothing() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .onDemand)
            try await peer.run { peer in
                for size in 1...6 { peer.send(payload(size), on: peer.links[0]) }
            }
            #expect(receiver.bufferedMessages == 0)
            #expect(receiver.credit == 0)
            for size in 1...3 {
                #expect(try await receiver.next()?.payload == payload(size))
                await peer.settle()
                #expect(receiver.bufferedMessages == 0)
                #expect(receiver.credit == 0)
            }
            // Four waiting tasks receive one message each.
            let waiting = (0..<4).map { _ in begin { try await receiver.next()?.payload.readableBytes } }
            for size in 4...6 { #expect(try await waiting[size - 4].value == size) }
            await peer.settle()
            #expect(!waiting[3].isDone)
            #expect(receiver.credit == 1)
            try await peer.run { _ = $0.send(payload(7), on: $0.links[0]) }
            #expect(try await waiting[3].value == 7)
        }
    }

    /// An aborted message uses the credit of a cancelled wait, so a later wait needs new credit.
    @Test func anOnDemandWindowGrantsAgainAfterAnAbort() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .onDemand)
            let waiting = begin { try await receiver.next() }
            await peer.settle()
            waiting.cancel()
            await expectError(.cancelled) { try await waiting.value }
            try await peer.run { peer in
                let delivery = peer.send(payload(1), on: peer.links[0], isLast: false)
                peer.turn()
                if let delivery { pn_delivery_abort(delivery) }
                peer.isBetweenMessages = true
            }
            #expect(receiver.credit == 0)
            let again = begin { try await receiver.next()?.payload }
            await peer.settle()
            try await peer.run { _ = $0.send(payload(7), on: $0.links[0]) }
            #expect(try await again.value == payload(7))
        }
    }

    @Test func anOnDemandWindowDrainsItsCreditAfterATimeout() async throws {
        try await withSession(configuration: Self.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .onDemand)
            let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
            await peer.settle()
            #expect(receiver.credit == 1)
            await peer.advance(by: .seconds(2))
            #expect(try await waiting.value == nil)
            await peer.settle()
            #expect(receiver.credit == 0)
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 0)
        }
    }

    @Test func anUnboundedWindowKeepsCreditToppedUp() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .unbounded)
            try await peer.run { peer in
                for _ in 0..<3_000 { peer.send(payload(1), on: peer.links[0]) }
            }
            #expect(receiver.bufferedMessages == 3_000)
            #expect(receiver.credit >= CreditWindow.unboundedCredit / 2)
        }
    }
}
