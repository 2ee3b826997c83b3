// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Credit that is revoked in the middle of a message, aborts without credit, and links that are accepted twice.
@Suite(.deadline)
struct EdgeTests {
    /// Credit that is revoked in the middle of a message blocks only that link, even if the link closes then.
    @Test(arguments: [false, true]) func revokedCreditBlocksOneLink(_ closes: Bool) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: nil)
            script.maxFrameSize = 4_096
            script.sessionCapacity = 8_192
            return script
        }
        try await withSession(script) { session, peer in
            let first = try await session.openSender(to: "a")
            let second = try await session.openSender(to: "b")
            try await peer.run { peer in
                peer.script.takesMessages = false
                pn_link_flow(peer.links[0], 1)
            }
            let large = try first.trySend(encoded: payload(300_000))
            await peer.settle()
            // The first part has used the window. The window opens again, and the peer revokes the credit.
            try await peer.run { peer in
                peer.script.takesMessages = true
                pn_link_flow(peer.links[0], -1)
                peer.receive(peer.links[0])
                pn_link_flow(peer.links[1], 5)
            }
            await peer.settle()
            for number in 1...5 {
                let transfer = try second.trySend(encoded: payload(number))
                #expect(try await transfer.outcome() == .accepted)
            }
            if closes {
                try await first.close().check()
                await expectError(.closed) { try await large.outcome() }
            } else {
                try await peer.run { pn_link_flow($0.links[0], 1) }
                #expect(try await large.outcome() == .accepted)
            }
            try await peer.run { pn_link_flow($0.links[1], 1) }
            #expect(try await second.send(AMQPMessage(body: "on")) == .accepted)
            try await eventually("the ledger is empty") { session.outgoingBytes == 0 }
        }
    }

    /// An aborted message without credit ends the link, like any other message without credit.
    @Test func abortsWithoutCreditEndTheLink() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(4))
            try await peer.run { peer in
                for _ in 0..<4 { _ = peer.send(payload(9), on: peer.links[0]) }
            }
            try await eventually("the messages") { receiver.bufferedMessages == 4 }
            await peer.settle()
            #expect(receiver.credit == 0)
            try await peer.run { peer in
                peer.inject(try Frame.transfer(handle: 0, id: 4, tag: [9], aborted: true).encoded())
            }
            await expectError(.linkTransferLimitExceeded) { try await receiver.waitUntilClosed() }
        }
    }

    /// The receiver grants new credit for a waiting task whose credit was used, although less than half of the window
    /// is free.
    @Test func aWaitThatLosesItsCreditContinues() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(5))
            try await peer.run { peer in
                for _ in 0..<4 { _ = peer.send(payload(9), on: peer.links[0]) }
            }
            var taken: [AMQPDelivery] = []
            for _ in 0..<4 { if let delivery = try await receiver.next() { taken.append(delivery) } }
            taken[0].accept()
            let wait = begin { try await receiver.next() }
            await peer.settle()
            try await peer.run { peer in
                // An aborted message uses the last credit.
                guard let delivery = peer.send(payload(5), on: peer.links[0], isLast: false) else { return }
                peer.turn()
                pn_delivery_abort(delivery)
                peer.isBetweenMessages = true
            }
            try await eventually("credit comes") { try await peer.run { pn_link_credit($0.links[0]) > 0 } }
            try await peer.run { _ = $0.send(payload(7), on: $0.links[0]) }
            #expect(try await wait.value?.payload.readableBytes == 7)
        }
    }

    /// The first of two decisions on a delivery counts, even if the loop receives both at once.
    @Test func theFirstDecisionCounts() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await peer.run { peer in
                for _ in 0..<6 { _ = peer.send(payload(9), on: peer.links[0]) }
            }
            var deliveries: [AMQPDelivery] = []
            for _ in 0..<6 { deliveries.append(try #require(try await receiver.next())) }
            let taken = deliveries
            try await peer.run { _ in
                taken[4].accept(includingEarlier: true)
                taken[1].reject()
                taken[5].release()
                taken[5].accept()
            }
            let accepted = Array(repeating: UInt64(PN_ACCEPTED), count: 5)
            try await eventually("the outcomes") {
                try await peer.run { $0.outcomes == accepted + [UInt64(PN_RELEASED)] }
            }
        }
    }

    /// A message that was accepted while its link ended leaves the ledgers of the session and the connection too.
    @Test func aMessageOfAnEndedLinkLeavesTheLedgers() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let transfer = try await peer.run { peer in
                let transfer = try sender.trySend(encoded: payload(100))
                pn_link_close(peer.links[0])
                return transfer
            }
            await expectError(.closed) { try await transfer.outcome() }
            try await eventually("the ledgers are empty") {
                session.outgoingBytes == 0 && session.connection.outgoingBytes == 0
            }
        }
    }
}
