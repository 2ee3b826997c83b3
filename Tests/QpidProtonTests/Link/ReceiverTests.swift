// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Receiving from an in-memory peer: pieces, limits, credit and settlement.
@Suite(.deadline)
struct ReceiverTests {
    /// Sends messages on the peer's end of the library's first link, which has credit.
    private func send(_ peer: InMemoryPeer, _ messages: [ByteBuffer], settled: Bool = false) async throws {
        try await peer.run { peer in
            for message in messages { peer.send(message, on: peer.links[0], settled: settled) }
        }
    }

    @Test func messagesArriveInOrderAndComplete() async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let sizes = (0..<300).map { _ in Int.random(in: 0...20_000, using: &random) }
        let piece = Int.random(in: 1...5_000, using: &random)
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 1_024
        let session = AMQPSession.Configuration(incomingCapacity: 4_096)
        try await withSession(configuration: configuration, session: session) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(8))
            try await peer.run { $0.toLibrary.piece = piece }
            try await self.send(peer, sizes.map { payload($0) })
            for size in sizes {
                let delivery = try await receiver.next()
                #expect(delivery?.payload.readableBytes == size)
                delivery?.accept()
            }
            await peer.settle()
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 0)
            #expect(receiver.bufferedBytes == 0)
        }
    }

    @Test func settledMessagesNeedNoDecision() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(3))
            try await self.send(peer, (0..<50).map { payload($0) }, settled: true)
            for size in 0..<50 {
                let delivery = try #require(try await receiver.next())
                #expect(delivery.isSettled)
                #expect(delivery.payload.readableBytes == size)
                delivery.accept()
            }
            #expect(try await peer.count(.disposition) == 0)
        }
    }

    @Test func creditIsToppedUpOnReceipt() async throws {
        try await withSession { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(4))
            configuration.creditReturn = .onReceipt
            let receiver = try await session.openReceiver(configuration)
            try await self.send(peer, (0..<40).map { payload($0) })
            for size in 0..<40 { #expect(try await receiver.next()?.payload.readableBytes == size) }
        }
    }

    /// The application holds all but two messages of the window, and waits for one more.
    @Test func aWaitingReceiverGrantsTheFreePlaces() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(8))
            try await self.send(peer, (0..<20).map { payload($0) })
            var held: [AMQPDelivery] = []
            for index in 0..<8 {
                let delivery = try #require(try await receiver.next())
                if index < 2 { delivery.accept() } else { held.append(delivery) }
            }
            // Two of eight places are free. That is less than half, but nothing else can make progress.
            let next = begin { try await receiver.next() }
            await peer.settle()
            #expect(try await next.value != nil)
        }
    }

    @Test func everyOutcomeReachesThePeer() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onUpdate = { peer, delivery in
                let remote = pn_delivery_remote(delivery)
                switch Int32(truncatingIfNeeded: pn_delivery_remote_state(delivery)) {
                case PN_REJECTED:
                    let condition = pn_disposition_condition(remote)
                    #expect(pn_condition_get_name(condition).map { String(cString: $0) } == "x:bad")
                    #expect(pn_condition_get_description(condition).map { String(cString: $0) } == "no")
                    #expect(ProtonData.map(pn_condition_info(condition)) == [.symbol("why"): "because"])
                case PN_MODIFIED:
                    #expect(pn_disposition_is_failed(remote))
                    #expect(!pn_disposition_is_undeliverable(remote))
                    #expect(ProtonData.map(pn_disposition_annotations(remote)) == [.symbol("x-n"): .int(1)])
                default: break
                }
                peer.outcomes.append(pn_delivery_remote_state(delivery))
                #expect(pn_delivery_settled(delivery))
                pn_delivery_settle(delivery)
            }
            return script
        }
        try await withSession(script) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, (0..<5).map { payload($0) })
            var deliveries: [AMQPDelivery] = []
            for _ in 0..<5 { deliveries.append(try #require(try await receiver.next())) }
            deliveries[0].accept()
            deliveries[0].release()
            deliveries[1].reject(
                AMQPError(scope: .delivery, condition: "x:bad", detail: "no", info: [.symbol("why"): "because"])
            )
            deliveries[2].release()
            deliveries[3].modify(AMQPModified(deliveryFailed: true, messageAnnotations: [.symbol("x-n"): .int(1)]))
            deliveries[4].modify(AMQPModified(deliveryFailed: true, messageAnnotations: [.symbol("x-n"): .int(1)]))
            await peer.settle()
            let expected = [PN_ACCEPTED, PN_REJECTED, PN_RELEASED, PN_MODIFIED, PN_MODIFIED].map { UInt64($0) }
            // Proton sends single outcomes before outcomes that form a range.
            #expect(try await peer.run { $0.outcomes.sorted() } == expected.sorted())
        }
    }

    @Test func settlingInTheSecondModeWaitsForTheSender() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onUpdate = { peer, delivery in peer.unsettled.append(delivery) }
            return script
        }
        try await withSession(script) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(2))
            configuration.settleMode = .second
            let receiver = try await session.openReceiver(configuration)
            try await self.send(peer, [payload(1)])
            try #require(try await receiver.next()).accept()
            await peer.settle()
            let dispositions = try await peer.framesOfLibrary().filter { $0.code == .disposition }
            #expect(dispositions.map { $0.field(3) } == [.null] || dispositions.map { $0.field(3) } == [.bool(false)])
            try await peer.run { peer in
                for delivery in peer.unsettled { pn_delivery_settle(delivery) }
            }
            try await self.send(peer, (2..<30).map { payload($0) })
            for size in 2..<30 {
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload.readableBytes == size)
                delivery.accept()
                try await peer.run { peer in
                    for delivery in peer.unsettled { pn_delivery_settle(delivery) }
                    peer.unsettled = []
                }
            }
        }
    }

    @Test func acceptIncludingEarlier() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, (0..<100).map { payload($0) })
            var deliveries: [AMQPDelivery] = []
            for _ in 0..<100 { deliveries.append(try #require(try await receiver.next())) }
            deliveries[10].reject()
            deliveries[89].accept(includingEarlier: true)
            await peer.settle()
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 10)
            deliveries[5].release()
            deliveries[99].accept(includingEarlier: true)
            await peer.settle()
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 0)
            #expect(try await peer.count(.disposition) <= 5)
        }
    }

    /// The task ends the loop by `break` or by an error, and ends a loop over batches.
    @Test(arguments: [0, 1, 2]) func leavingALoopLeavesTheLinkOpen(way: Int) async throws {
        struct Broken: Error {}
        try await withSession({ .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, (0..<10).map { payload($0) })
            switch way {
            case 0:
                for try await delivery in receiver {
                    delivery.accept()
                    break
                }
            case 1:
                await #expect(throws: Broken.self) {
                    for try await delivery in receiver {
                        delivery.accept()
                        throw Broken()
                    }
                }
            default:
                for try await batch in receiver.batches(max: 1) {
                    batch.acceptAll()
                    break
                }
            }
            await peer.settle()
            #expect(try await peer.count(.detach) == 0 && receiver.error == nil)
            // The remaining messages are available to the next loop.
            for size in 1..<10 { #expect(try await receiver.next()?.payload.readableBytes == size) }
        }
    }

    @Test func theLastReferenceClosesAndReleases() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            var receiver: AMQPReceiver? = try await session.openReceiver(from: "q")
            try await self.send(peer, (0..<10).map { payload($0) })
            for _ in 0..<4 { try #require(try await receiver?.next()).accept() }
            await peer.settle()
            #expect(try await peer.count(.detach) == 0)
            receiver = nil
            try await eventually("the link closes") { try await peer.count(.detach) == 1 }
            await peer.settle()
            let states = try await peer.run { $0.outcomes }
            #expect(states.count { $0 == UInt64(PN_ACCEPTED) } == 4)
            #expect(states.count { $0 == UInt64(PN_RELEASED) } == 6)
        }
    }

    @Test func sameObjectsAreEqual() async throws {
        try await withSession { session, peer in
            let receivers = [try await session.openReceiver(from: "a"), try await session.openReceiver(from: "b")]
            #expect(receivers[0] != receivers[1] && Set(receivers + receivers).count == 2)
            #expect(session.connection == session.connection && Set([session, session]).count == 1)
        }
    }

    @Test func outcomesReadAsWords() {
        #expect("\(AMQPOutcome.accepted)" == "accepted" && "\(AMQPOutcome.rejected(nil))" == "rejected")
        let error = AMQPError(condition: .invalidField, detail: "no colour")
        #expect("\(AMQPOutcome.rejected(error))" == "rejected: amqp:invalid-field: no colour")
        #expect("\(AMQPOutcome.modified(.init(deliveryFailed: true)))" == "modified: delivery failed")
        #expect("\(AMQPOutcome.modified(.init()))" == "modified")
    }

    @Test func batchesEndWithTheLink() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, (0..<10).map { payload($0) })
            var sizes: [Int] = []
            for try await batch in receiver.batches(max: 3) {
                #expect(batch.count <= 3)
                for delivery in batch {
                    sizes.append(delivery.payload.readableBytes)
                    delivery.accept()
                }
                if sizes.count == 10 {
                    try await peer.run { pn_link_close($0.links[0]) }
                }
            }
            #expect(sizes == Array(0..<10))
        }
    }

    @Test func thePeersErrorEndsTheSequence() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, [payload(1)])
            try await peer.run { peer in
                pn_condition_set_name(pn_link_condition(peer.links[0]), "amqp:resource-deleted")
                pn_link_close(peer.links[0])
            }
            // The source sends the received messages again, because they can no longer be settled.
            #expect(receiver.bufferedMessages == 0)
            for _ in 0..<3 { await expectError(.resourceDeleted) { try await receiver.next() } }
            await expectError(.resourceDeleted) { try await receiver.waitUntilClosed() }
        }
    }

    @Test func cancellingAWaitLosesNothing() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            let first = begin { try await receiver.next() }
            let second = begin { try await receiver.next() }
            first.cancel()
            await expectError(.cancelled) { try await first.value }
            try await self.send(peer, [payload(1), payload(2)])
            #expect(try await second.value?.payload == payload(1))
            #expect(try await receiver.next()?.payload == payload(2))
        }
    }

    @Test func closeAndDetachWithMessagesUnderWay() async throws {
        for detaches in [false, true] {
            try await withSession { session, peer in
                let receiver = try await session.openReceiver(from: "q", window: .messages(10))
                try await peer.run { $0.toPeer.allowance = 0 }
                let closing = begin {
                    detaches ? try await receiver.detach().check() : try await receiver.close().check()
                }
                await peer.settle()
                try await self.send(peer, (0..<10).map { _ in payload(70_000) })
                try await peer.run { $0.toPeer.allowance = nil }
                try await closing.value
                #expect(session.connection.error == nil)
                let other = try await session.openReceiver(from: "q")
                try await peer.run { _ = $0.send(payload(3), on: $0.links[1]) }
                #expect(try await other.next()?.payload == payload(3))
            }
        }
    }
}
