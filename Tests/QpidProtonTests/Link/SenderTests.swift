// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Sending to an in-memory peer: outcomes, credit and order.
@Suite(.deadline)
struct SenderTests {
    /// If a receiver settles after the sender, the sender's settlement repeats the receiver's own outcome.
    @Test(arguments: [PN_ACCEPTED, PN_REJECTED, PN_RELEASED, PN_MODIFIED])
    func aSenderThatSettlesSecondRepeatsTheOutcome(state: Int32) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onMessage = { peer, _ in
                .custom { delivery in
                    let local = pn_delivery_local(delivery)
                    pn_condition_set_name(pn_disposition_condition(local), "x:bad")
                    pn_disposition_set_failed(local, true)
                    pn_delivery_update(delivery, UInt64(state))
                    peer.unsettled.append(delivery)
                }
            }
            return script
        }
        try await withSession(script) { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.receiverSettleMode = .second
            let sender = try await session.openSender(configuration)
            let outcome = try await sender.send(AMQPMessage(body: "x"))
            #expect((outcome == .accepted) == (state == PN_ACCEPTED))
            await peer.settle()
            try await peer.run { peer in
                let delivery = peer.unsettled[0]
                let remote = pn_delivery_remote(delivery)
                #expect(pn_delivery_settled(delivery) && pn_delivery_remote_state(delivery) == UInt64(state))
                #expect(!pn_condition_is_set(pn_disposition_condition(remote)))
                #expect(pn_disposition_is_failed(remote) == (state == PN_MODIFIED))
            }
        }
    }

    @Test func outcomesOfEveryKind() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onMessage = { peer, _ in
                switch peer.received.count {
                case 1: return .accept
                case 2:
                    return .custom { delivery in
                        let condition = pn_disposition_condition(pn_delivery_local(delivery))
                        pn_condition_set_name(condition, "x:bad")
                        pn_condition_set_description(condition, "too blue")
                        try? ProtonData.set(pn_condition_info(condition), map: [.symbol("colour"): "blue"])
                        pn_delivery_update(delivery, UInt64(PN_REJECTED))
                        pn_delivery_settle(delivery)
                    }
                case 3:
                    return .custom {
                        pn_delivery_update($0, UInt64(PN_RELEASED))
                        pn_delivery_settle($0)
                    }
                case 4:
                    return .custom { delivery in
                        let local = pn_delivery_local(delivery)
                        pn_disposition_set_failed(local, true)
                        pn_disposition_set_undeliverable(local, true)
                        try? ProtonData.set(pn_disposition_annotations(local), map: [.symbol("x-tries"): .int(3)])
                        pn_delivery_update(delivery, UInt64(PN_MODIFIED))
                        pn_delivery_settle(delivery)
                    }
                case 5: return .custom { pn_delivery_settle($0) }
                case 6:
                    return .custom {
                        pn_delivery_update($0, UInt64(PN_REJECTED))
                        pn_delivery_settle($0)
                    }
                // The receiver settles second, so the sender must settle on the outcome.
                default: return .custom { pn_delivery_update($0, UInt64(PN_ACCEPTED)) }
                }
            }
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            var outcomes: [AMQPOutcome] = []
            for number in 1...7 { outcomes.append(try await sender.send(AMQPMessage(body: "\(number)"))) }
            let rejection = AMQPError(
                scope: .delivery,
                condition: "x:bad",
                detail: "too blue",
                info: [.symbol("colour"): "blue"],
                origin: .peer
            )
            #expect(outcomes[0] == .accepted)
            #expect(outcomes[1] == .rejected(rejection))
            #expect(outcomes[2] == .released)
            let changes = AMQPModified(
                deliveryFailed: true,
                undeliverableHere: true,
                messageAnnotations: [.symbol("x-tries"): .int(3)]
            )
            #expect(outcomes[3] == .modified(changes))
            #expect(outcomes[4] == .settled)
            #expect(outcomes[5] == .rejected(nil))
            #expect(outcomes[6] == .accepted)
            // This side, as the sender, settled the last delivery with a disposition.
            let dispositions = try await peer.framesOfLibrary().filter { $0.code == .disposition }
            #expect(dispositions.count >= 1)
            #expect(dispositions.allSatisfy { $0.field(0) == .bool(false) })
            #expect(dispositions.last?.field(3) == .bool(true))
        }
    }

    @Test func deliveryLimitReportsNewCredit() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            #expect(sender.deliveryLimit == 0)
            let limit = begin { try await sender.deliveryLimit(after: 0) }
            try await peer.run { pn_link_flow($0.links[0], 3) }
            #expect(try await limit.value == 3)
            let more = begin { try await sender.deliveryLimit(after: 3) }
            try await sender.close().check()
            await expectError(.closed) { try await more.value }
        }
    }

    @Test func orderIsKeptThroughPieces() async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let sizes = (0..<200).map { _ in Int.random(in: 0...30_000, using: &random) }
        let piece = Int.random(in: 1...9_000, using: &random)
        try await withSession(
            session: .init(sendLimit: .init(high: .kibibytes(100))),
            { PeerScript(credit: 7, maxFrameSize: 4_096) }
        ) { session, peer in
            try await peer.run { $0.toPeer.piece = piece }
            let first = try await session.openSender(to: "a")
            let second = try await session.openSender(to: "b")
            async let ones = first.send(contentsOf: sizes.map { AMQPMessage(body: payload($0)) })
            async let twos = second.send(contentsOf: sizes.reversed().map { AMQPMessage(body: payload($0)) })
            for result in await ones + twos { #expect(try result.get() == .accepted) }
            let received = try await peer.run { $0.received }
            #expect(received.filter { $0.link == first.name }.map { self.bodySize($0) } == sizes)
            #expect(received.filter { $0.link == second.name }.map { self.bodySize($0) } == sizes.reversed())
            #expect(session.outgoingBytes == 0)
        }
    }

    private func bodySize(_ message: InMemoryPeer.Received) -> Int? {
        guard case .data(let sections)? = try? AMQPMessage(decoding: message.bytes).body else { return nil }
        return sections.reduce(0) { $0 + $1.readableBytes }
    }

    @Test func framesObeyThePeersMaximum() async throws {
        try await withSession({ PeerScript(maxFrameSize: 512) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            #expect(try await sender.enqueue(encoded: payload(100_000)).outcome() == .accepted)
            let frames = try await peer.framesOfLibrary().filter { $0.code == .transfer }
            #expect(frames.count > 200)
            #expect(try frames.allSatisfy { try $0.encoded().readableBytes <= 512 })
            #expect(try await peer.run { $0.received[0].bytes } == payload(100_000))
        }
    }

    @Test func emptyMessagesCountAndArrive() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            let transfers = try (0..<3).map { _ in try sender.trySend(encoded: ByteBuffer()) }
            await peer.settle()
            #expect(session.outgoingBytes == 3)
            try await peer.run { $0.toPeer.allowance = nil }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(session.outgoingBytes == 0)
            #expect(try await peer.run { $0.received.map(\.bytes.readableBytes) } == [0, 0, 0])
        }
    }

    @Test func settledMessagesAreDoneWhenWritten() async throws {
        try await withSession { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .mixed
            let sender = try await session.openSender(configuration)
            try await peer.run { $0.toPeer.allowance = 0 }
            let settled = try sender.trySend(encoded: payload(10), settled: true)
            let unsettled = try sender.trySend(encoded: payload(11))
            await peer.settle()
            #expect(settled.result == nil)
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await settled.outcome() == .settled)
            #expect(try await unsettled.outcome() == .accepted)
            #expect(try await peer.run { $0.received.map(\.isSettled) } == [true, false])
        }
    }

    @Test func settleModesAreObserved() async throws {
        try await withSession { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .settled
            let settled = try await session.openSender(configuration)
            #expect(try await settled.send(AMQPMessage(body: "a")) == .settled)
            await expectError(.invalidArgument) { try await settled.send(AMQPMessage(body: "a"), settled: false) }
            configuration.settleMode = .unsettled
            let unsettled = try await session.openSender(configuration)
            await expectError(.invalidArgument) { try await unsettled.send(AMQPMessage(body: "a"), settled: true) }
            let modes = try await peer.framesOfLibrary().filter { $0.code == .attach }.map { $0.field(3) }
            #expect(modes == [.ubyte(1), .ubyte(0)])
        }
    }

    @Test func aMessageAboveThePeersMaxMessageSizeIsNotSent() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onAttach = { _, link in
                pn_link_set_max_message_size(link, 100)
                return true
            }
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            #expect(sender.remoteMaxMessageSize == 100)
            #expect(try await sender.enqueue(encoded: payload(100)).outcome() == .accepted)
            let error = await expectError(.linkMessageSizeExceeded) { try await sender.enqueue(encoded: payload(101)) }
            #expect(error?.fate == .notSent)
            #expect(try await peer.run { $0.received.count } == 1)
        }
    }

    @Test func batchesReportEachMessage() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 250, low: 100))
        try await withSession(session: session) { session, peer in
            let sender = try await session.openSender(to: "q")
            let messages = (0..<50).map { AMQPMessage(body: "message \($0)") }
            let outcomes = await sender.send(contentsOf: messages)
            #expect(outcomes == Array(repeating: .success(.accepted), count: 50))
            let transfers = try await sender.enqueue(contentsOf: messages)
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            try await peer.run { $0.toPeer.allowance = 0 }
            let accepted = try sender.trySend(contentsOf: messages)
            #expect(accepted.count > 1 && accepted.count < 50)
            #expect(session.outgoingBytes <= 250)
            #expect(session.outgoingBytesPeak <= 250)
            try await peer.run { $0.toPeer.allowance = nil }
            for transfer in accepted { #expect(try await transfer.outcome() == .accepted) }
            #expect(try await peer.run { $0.received.count } == 100 + accepted.count)
        }
    }

    @Test func thePeerDrains() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { pn_link_drain($0.links[0], 10) }
            #expect(try await peer.run { pn_link_drained($0.links[0]) } == 10)
            #expect(sender.credit == 0)
            // Waiting messages use the credit first.
            let transfers = try (0..<3).map { _ in try sender.trySend(encoded: payload(100)) }
            await peer.settle()
            #expect(try await peer.run { $0.received.count } == 0)
            try await peer.run { pn_link_drain($0.links[0], 5) }
            #expect(try await peer.run { pn_link_drained($0.links[0]) } == 2)
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 0)
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
        }
    }
}

extension PeerScript {
    init(credit: Int?, maxFrameSize: UInt32? = 65_536) {
        self.init()
        self.credit = credit
        self.maxFrameSize = maxFrameSize
    }
}
