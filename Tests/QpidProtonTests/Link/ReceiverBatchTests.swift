// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Batches of deliveries, settled together.
@Suite(.deadline)
struct ReceiverBatchTests {
    @Test(arguments: [0, -1, Int.min])
    func anEmptyBatchIsRefused(count: Int) async throws {
        try await withSession { session, _ in
            let receiver = try await session.openReceiver(from: "q")
            await expectError(.invalidArgument) { try await receiver.nextBatch(max: count) }
        }
    }

    private func send(_ peer: InMemoryPeer, _ sizes: Range<Int>, settled: Bool = false) async throws {
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0], settled: settled) }
        }
    }

    @Test func aBatchIsSettledTogether() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await self.send(peer, 0..<5)
            try await self.send(peer, 5..<10, settled: true)
            var batch: [AMQPDelivery] = []
            while batch.count < 10 { batch += try await receiver.nextBatch(max: 10 - batch.count) }
            #expect(batch.map(\.payload.readableBytes) == Array(0..<10))
            #expect(batch.map(\.isSettled) == Array(repeating: false, count: 5) + Array(repeating: true, count: 5))
            // A delivery that is already decided keeps its outcome.
            batch[1].release()
            batch.acceptAll()
            batch.rejectAll()
            [AMQPDelivery]().acceptAll()
            await peer.settle()
            let states = [PN_ACCEPTED, PN_RELEASED, PN_ACCEPTED, PN_ACCEPTED, PN_ACCEPTED].map { UInt64($0) }
            #expect(try await peer.run { $0.outcomes.sorted() } == states.sorted())
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 0)
            // The places of the batch are free again.
            try await self.send(peer, 0..<10)
            for size in 0..<10 { #expect(try await receiver.next()?.payload.readableBytes == size) }
        }
    }

    @Test func everyOutcomeAppliesToABatchInAnyOrder() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 0..<40)
            var batch: [AMQPDelivery] = []
            while batch.count < 40 { batch += try await receiver.nextBatch(max: 7) }
            batch[0..<10].acceptAll()
            batch[10..<20].lazy.filter { $0.payload.readableBytes >= 10 }.releaseAll()
            Set(20..<30).map { batch[$0] }.rejectAll(AMQPError(scope: .delivery, condition: "x:bad"))
            batch[30...].reversed().modifyAll(AMQPModified(deliveryFailed: true))
            await peer.settle()
            let wanted = [PN_ACCEPTED, PN_RELEASED, PN_REJECTED, PN_MODIFIED]
                .flatMap { Array(repeating: UInt64($0), count: 10) }
            #expect(try await peer.run { $0.outcomes.sorted() } == wanted.sorted())
        }
    }

    @Test func aBatchOfSeveralReceiversIsSettledAtEach() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            var batch: [AMQPDelivery] = []
            var receivers: [AMQPReceiver] = []
            defer { withExtendedLifetime(receivers) {} }
            for index in 0..<3 {
                let receiver = try await session.openReceiver(from: "q\(index)")
                receivers.append(receiver)
                try await peer.run { peer in
                    for size in 0..<10 { peer.send(payload(size), on: peer.links[index]) }
                }
                for _ in 0..<10 { batch.append(try #require(try await receiver.next())) }
            }
            var random = SeededGenerator(seed: SeededGenerator.seed())
            batch.shuffled(using: &random).acceptAll()
            await peer.settle()
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_ACCEPTED), count: 30))
            for index in 0..<3 { #expect(try await peer.run { pn_link_unsettled($0.links[index]) } == 0) }
        }
    }

    @Test func smallMessagesBesideLargeOnesKeepTheirOrderAndTags() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            let sizes = [0, 4_095, 4_096, 4_097, 1, 50_000, 0, 20_000, 4_096, 3]
            try await peer.run { peer in
                for size in sizes { peer.send(payload(size), on: peer.links[0]) }
            }
            #expect(receiver.bufferedBytes.bytes == sizes.reduce(0, +))
            #expect(receiver.bufferedMessages == sizes.count)
            var tags: Set<[UInt8]> = []
            for size in sizes {
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload == payload(size))
                tags.insert(delivery.tag)
                delivery.accept()
            }
            #expect(tags.count == sizes.count)
            #expect(receiver.bufferedBytes == 0 && receiver.bufferedBytesPeak == sizes.reduce(0, +))
        }
    }

    @Test func acceptIncludingEarlierSkipsLaterAndDecidedMessages() async throws {
        var configuration = AMQPReceiver.Configuration(window: .messages(1_000))
        configuration.settleMode = .second
        configuration.source = AMQPSource(address: "q")
        let settings = configuration
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            // The peer settles nothing.
            script.onUpdate = { peer, delivery in peer.outcomes.append(pn_delivery_remote_state(delivery)) }
            return script
        }
        try await withSession(script) { session, peer in
            let receiver = try await session.openReceiver(settings)
            try await self.send(peer, 0..<20)
            var batch: [AMQPDelivery] = []
            while batch.count < 20 { batch += try await receiver.nextBatch(max: 20) }
            batch[3].reject()
            batch[9].accept(includingEarlier: true)
            batch[9].accept(includingEarlier: true)
            await peer.settle()
            let states = Array(repeating: UInt64(PN_ACCEPTED), count: 9) + [UInt64(PN_REJECTED)]
            #expect(try await peer.run { $0.outcomes.sorted() } == states.sorted())
            batch[19].accept(includingEarlier: true)
            await peer.settle()
            #expect(try await peer.run { $0.outcomes.count } == 20)
        }
    }
}
