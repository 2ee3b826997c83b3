// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// `close(within:)` stops, settles and detaches in this order.
@Suite(.deadline)
struct ReceiverStopTests {
    private func take(_ receiver: AMQPReceiver, _ count: Int) async throws -> [AMQPDelivery] {
        var deliveries: [AMQPDelivery] = []
        while deliveries.count < count { deliveries.append(try #require(try await receiver.next())) }
        return deliveries
    }

    private func send(_ peer: InMemoryPeer, _ sizes: Range<Int>, settled: Bool = false) async throws {
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0], settled: settled) }
        }
    }

    /// The order lets a broker with a single active consumer send all remaining messages to the next consumer in order.
    @Test func stopSettleDetachInThisOrder() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 1..<7)
            let held = try await self.take(receiver, 3)
            let closing = begin { await receiver.close(within: .seconds(60)) }
            await peer.settle()
            // No task receives a message after the stop. Messages that no task has received are released.
            #expect(receiver.bufferedMessages == 0 && receiver.poll() == nil)
            let waiting = begin { try await receiver.next() }
            await peer.settle()
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_RELEASED), count: 3))
            for delivery in held.dropLast() { delivery.accept() }
            await peer.settle()
            #expect(!closing.isDone && !waiting.isDone && receiver.error == nil)
            held[2].accept()
            #expect(try await closing.value.left == 0)
            #expect(try await waiting.value == nil)
            let frames = try await peer.framesOfLibrary()
            let stop = try #require(frames.firstIndex { $0.code == .flow && $0.field(8) == .bool(true) })
            let settled = try #require(frames.lastIndex { $0.code == .disposition })
            let detach = try #require(frames.firstIndex { $0.code == .detach })
            #expect(stop < frames.firstIndex { $0.code == .disposition } ?? 0)
            #expect(settled < detach)
            // The receiver grants no credit after the stop.
            #expect(frames[stop...].allSatisfy { $0.code != .flow || $0.field(8) == .bool(true) })
        }
    }

    /// A close with a limit of zero also releases messages that no task has received, and does not count them.
    @Test func stoppingAtOnceReleasesUnreceivedMessages() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 1..<6)
            let held = try await self.take(receiver, 2)
            #expect(await receiver.close(within: .zero).left == held.count)
            await peer.settle()
            #expect(try await peer.run { $0.outcomes.filter { $0 == UInt64(PN_RELEASED) }.count } == 3)
        }
    }

    /// The close does not count a partly received message that no task has read either.
    @Test func lateArrivalsAreNotCounted() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, { .keepingOutcomes }) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(4))
            configuration.streamsMessages = true
            let receiver = try await session.openReceiver(configuration)
            let bytes = try AMQPMessage(body: .data([payload(30_000)])).encoded()
            let beginning = try #require(bytes.getSlice(at: 0, length: 10_000))
            try await peer.run { _ = $0.send(beginning, on: $0.links[0], isLast: false) }
            #expect(receiver.bufferedMessages == 1)
            let closing = begin { await receiver.close(within: .milliseconds(5)) }
            await peer.settle()
            await peer.advance(by: .milliseconds(50))
            #expect(try await closing.value.left == 0)
        }
    }

    /// A message that is released before the peer has stopped could be sent again.
    @Test func nothingIsReleasedBeforeThePeerHasStopped() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript.keepingOutcomes
            script.answersDrain = false
            return script
        }
        try await withSession(configuration: ReceiverDrainTests.slow, script) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 1..<3)
            let closing = begin { await receiver.close(within: .seconds(60)) }
            await peer.settle()
            try await self.send(peer, 3..<5)
            #expect(try await peer.run { $0.outcomes } == [])
            #expect(receiver.poll() == nil)
            try await peer.run { _ = pn_link_drained($0.links[0]) }
            #expect(try await closing.value.left == 0)
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_RELEASED), count: 4))
        }
    }

    @Test(arguments: [true, false]) func theTimeIsOver(answers: Bool) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript.keepingOutcomes
            script.answersDrain = answers
            return script
        }
        try await withSession(configuration: ReceiverDrainTests.slow, script) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 1..<7)
            let held = try await self.take(receiver, 4)
            held[0].accept()
            let closing = begin { await receiver.close(within: .seconds(20)) }
            await peer.settle()
            await peer.advance(by: .seconds(19))
            #expect(!closing.isDone && receiver.error == nil)
            held[1].accept()
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(try await closing.value.left == 2)
            let outcomes = try await peer.run { $0.outcomes }
            #expect(outcomes.count { $0 == UInt64(PN_RELEASED) } == 2)
            #expect(outcomes.count { $0 == UInt64(PN_ACCEPTED) } == 2)
        }
    }

    @Test func cancellationAndZeroCutTheTimeShort() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 1..<4)
            let held = try await self.take(receiver, 2)
            let closing = begin { await receiver.close(within: .seconds(60)) }
            await peer.settle()
            #expect(!closing.isDone)
            closing.cancel()
            #expect(try await closing.value.left == 2)
            #expect(receiver.error?.condition == .closed)
            let other = try await session.openReceiver(from: "q")
            try await peer.run { _ = $0.send(payload(1), on: $0.links[1]) }
            let last = try #require(try await other.next())
            #expect(await other.close(within: .zero).left == 1)
            #expect(await other.close(within: .seconds(1)).left == 1)
            withExtendedLifetime((held, last)) {}
        }
    }

    /// Dropping a message that the sender has settled would lose it.
    @Test func settledMessagesCanStillBeReceived() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 1..<3, settled: true)
            try await self.send(peer, 3..<5)
            try await self.send(peer, 20_000..<20_001, settled: true)
            try await self.send(peer, 20_001..<20_002)
            let closing = begin { await receiver.close(within: .seconds(60)) }
            #expect(try await closing.value.left == 0)
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_RELEASED), count: 3))
            for size in [1, 2, 20_000] {
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload == payload(size) && delivery.isSettled && delivery.tag.count == 8)
            }
            #expect(try await receiver.next() == nil)
        }
    }

    @Test func theConnectionEndsMeanwhile() async throws {
        try await withSession(configuration: ReceiverDrainTests.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 1..<6)
            let held = try await self.take(receiver, 3)
            let closing = begin { await receiver.close(within: .seconds(60)) }
            await peer.settle()
            held[0].accept()
            await peer.settle()
            try await peer.loseConnection()
            // The peer has not confirmed that it read the decision on the first message.
            #expect(try await closing.value.left == 3)
            #expect(await receiver.close(within: .seconds(1)).left == 3)
        }
    }

    /// A session with a renewed window sends one more flow before the receiver ends, without credit.
    @Test func theLastFlowGrantsNothing() async throws {
        var configuration = ReceiverDrainTests.slow
        configuration.maxFrameSize = 512
        try await withSession(configuration: configuration, session: .init(incomingCapacity: 8_192)) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            for size in 1...5 { try await self.send(peer, size..<(size + 1)) }
            #expect(await receiver.close(within: .seconds(5)).left == 0)
            let frames = try await peer.framesOfLibrary()
            let stop = try #require(frames.firstIndex { $0.code == .flow && $0.field(8) == .bool(true) })
            #expect(frames[stop...].allSatisfy { $0.code != .flow || $0.field(6) != .uint(1) })
            #expect(session.connection.error == nil)
            let other = try await session.openReceiver(from: "q", window: .messages(100))
            for size in 1...40 { try await peer.run { _ = $0.send(payload(size), on: $0.links[1]) } }
            for size in 1...40 { #expect(try await other.next()?.payload == payload(size)) }
        }
    }
}
