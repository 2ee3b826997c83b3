// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// P57: dispositions are sent in ranges, in whatever order handlers finish.
@Suite(.deadline(minutes: 2))
struct ReceiverDispositionTests {
    private static let slow = ReceiverDrainTests.slow

    private func send(_ peer: InMemoryPeer, _ count: Int) async throws {
        try await peer.run { peer in
            for _ in 0..<count { peer.send(payload(1), on: peer.links[0]) }
        }
    }

    private func take(_ receiver: AMQPReceiver, _ count: Int) async throws -> [AMQPDelivery] {
        var deliveries: [AMQPDelivery] = []
        while deliveries.count < count { deliveries += try await receiver.nextBatch(max: count - deliveries.count) }
        return deliveries
    }

    private static func outcomes(_ peer: InMemoryPeer) async throws -> Int { try await peer.run { $0.outcomes.count } }

    /// The bytes of the dispositions that the library has sent.
    private func dispositionBytes(_ peer: InMemoryPeer) async throws -> (bytes: Int, frames: Int) {
        let frames = try await peer.framesOfLibrary().filter { $0.code == .disposition }
        return (try frames.reduce(0) { $0 + (try $1.encoded().readableBytes) }, frames.count)
    }

    /// 64 concurrent handlers finish in random order. Most handlers run for 1 to 3 ms, and a few for 20 ms.
    @Test func sixtyFourHandlersTakeLessThanAByteAMessage() async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let total = 20_000
        try await withSession(configuration: Self.slow, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(1_024))
            var working: [(delivery: AMQPDelivery, end: Int)] = []
            var (time, sent, done) = (0, 0, 0)
            let step = 250
            while done < total {
                if sent < total, receiver.bufferedMessages < 200 {
                    let count = min(500, total - sent)
                    try await self.send(peer, count)
                    sent += count
                }
                let finished = working.filter { $0.end <= time }
                working.removeAll { $0.end <= time }
                for work in finished.shuffled(using: &random) { work.delivery.accept() }
                done += finished.count
                while working.count < 64, let delivery = receiver.poll() {
                    let isLong = Int.random(in: 0..<500, using: &random) == 0
                    let duration = isLong ? 20_000 : Int.random(in: 1_000...3_000, using: &random)
                    working.append((delivery, time + duration))
                }
                await peer.advance(by: .microseconds(Int64(step)), steps: 1)
                time += step
            }
            await peer.advance(by: .milliseconds(30))
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_ACCEPTED), count: total))
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 0)
            let (bytes, frames) = try await self.dispositionBytes(peer)
            print("\(bytes) bytes in \(frames) dispositions for \(total) messages")
            #expect(bytes < total)
        }
    }

    @Test func aSingleDeliveryIsSettledAtOnce() async throws {
        try await withSession(configuration: Self.slow, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 60)
            for count in 1...20 {
                try #require(try await receiver.next()).accept()
                await peer.settle()
                #expect(try await Self.outcomes(peer) == count)
            }
            let batch = try await self.take(receiver, 30)
            var random = SeededGenerator(seed: SeededGenerator.seed())
            batch.shuffled(using: &random).acceptAll()
            await peer.settle()
            #expect(try await Self.outcomes(peer) == 50)
            #expect(try await self.dispositionBytes(peer).frames == 21)
        }
    }

    /// A contiguous run waits for one delay, decisions behind a gap wait for five, and credit does not wait.
    @Test func noDecisionWaitsLonger() async throws {
        try await withSession(configuration: Self.slow, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 30)
            let held = try await self.take(receiver, 10)
            held[0].accept()
            held[1].release()
            for index in 3...6 { held[index].accept() }
            await peer.settle()
            #expect(try await Self.outcomes(peer) == 0)
            #expect(receiver.bufferedMessages == 6)
            await peer.advance(by: .microseconds(4_900), steps: 7)
            #expect(try await Self.outcomes(peer) == 0)
            await peer.advance(by: .microseconds(200), steps: 2)
            #expect(try await peer.run { $0.outcomes } == [UInt64(PN_ACCEPTED), UInt64(PN_RELEASED)])
            await peer.advance(by: .microseconds(19_800), steps: 30)
            #expect(try await Self.outcomes(peer) == 2)
            held[8].accept()
            await peer.advance(by: .microseconds(200), steps: 2)
            // The latest decision waits for its neighbours.
            #expect(try await Self.outcomes(peer) == 6)
            #expect(try await self.dispositionBytes(peer).frames == 3)
            await peer.advance(by: .milliseconds(26), steps: 26)
            #expect(try await Self.outcomes(peer) == 7)
            // A decision with more fields is sent at once.
            held[9].reject()
            await peer.settle()
            #expect(try await Self.outcomes(peer) == 8)
            held[7].accept(includingEarlier: true)
            await peer.settle()
            await peer.advance(by: .milliseconds(6))
            #expect(try await Self.outcomes(peer) == 10)
        }
    }

    @Test func aLongRunIsSentAtOnce() async throws {
        try await withSession(configuration: Self.slow, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(200))
            try await self.send(peer, 100)
            let held = try await self.take(receiver, 100)
            for delivery in held[..<63] { delivery.accept() }
            await peer.settle()
            #expect(try await Self.outcomes(peer) == 0)
            held[63].accept()
            await peer.settle()
            #expect(try await Self.outcomes(peer) == 64)
            #expect(try await self.dispositionBytes(peer).frames == 1)
        }
    }

    enum End: CaseIterable { case close, detach, closeSession, closeConnection, pause, stop }

    @Test(arguments: End.allCases) func allDecisionsAreSentBeforeTheEnd(_ end: End) async throws {
        try await withSession(configuration: Self.slow, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 8)
            let held = try await self.take(receiver, 8)
            for index in [1, 2, 5] { held[index].accept() }
            await peer.settle()
            #expect(try await Self.outcomes(peer) == 0)
            switch end {
            case .close: try await receiver.close().check()
            case .detach: try await receiver.detach().check()
            case .closeSession: try await session.close().check()
            case .closeConnection: try await session.connection.close().check()
            case .pause: try await receiver.pause()
            case .stop: #expect(await receiver.close(within: .zero).left == 5)
            }
            await peer.settle()
            let frames = try await peer.framesOfLibrary()
            let last = try #require(frames.lastIndex { $0.code == .disposition })
            let gone = frames.firstIndex { [.detach, .end, .close].contains($0.code) } ?? frames.endIndex
            #expect(frames.count { $0.code == .disposition } == 2 && last < gone)
            #expect(frames.filter { $0.code == .disposition }.map { $0.field(1) } == [.uint(1), .uint(5)])
        }
    }

    @Test func withoutADelayEachBatchIsSent() async throws {
        try await withSession(configuration: Self.slow, { .keepingOutcomes }) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            configuration.settlementDelay = .zero
            let receiver = try await session.openReceiver(configuration)
            try await self.send(peer, 8)
            let held = try await self.take(receiver, 8)
            for index in [1, 2, 5] { held[index].accept() }
            await peer.settle()
            #expect(try await Self.outcomes(peer) == 3)
        }
    }

    /// The sender settles, or the link or the connection ends, while decisions wait.
    @Test(arguments: [0, 1, 2]) func theSenderSettlesOrEndsFirst(_ way: Int) async throws {
        try await withSession(configuration: Self.slow) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 6)
            let held = try await self.take(receiver, 6)
            for index in [0, 1, 3] { held[index].accept() }
            await peer.settle()
            switch way {
            case 0:
                try await peer.run { peer in
                    var delivery = pn_unsettled_head(peer.links[0])
                    while let current = delivery {
                        delivery = pn_unsettled_next(current)
                        pn_delivery_settle(current)
                    }
                }
                await peer.advance(by: .milliseconds(30))
                held[5].accept()
                try await self.send(peer, 5)
                for _ in 0..<5 { try #require(try await receiver.next()).accept() }
                await peer.settle()
                #expect(receiver.credit >= 5 && receiver.error == nil)
            case 1:
                try await peer.run { pn_link_close($0.links[0]) }
                #expect(try await receiver.next() == nil)
                await peer.advance(by: .milliseconds(30))
                #expect(session.connection.error == nil)
            default:
                try await peer.loseConnection()
                await peer.advance(by: .milliseconds(30))
                #expect(session.connection.error != nil)
            }
        }
    }
}
