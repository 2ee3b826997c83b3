// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// Messages that the receiver has decided but the peer does not settle, and other state that waits for a peer's answer.
@Suite(.deadline)
struct ReceiverUnsettledTests {
    /// A sender that keeps the receiver's decisions and settles nothing until the test does.
    private static let settlingNothing = { @Sendable () -> PeerScript in
        var script = PeerScript()
        script.onUpdate = { peer, delivery in peer.unsettled.append(delivery) }
        return script
    }

    private func configuration(_ window: AMQPReceiver.Window, limit: Int?) -> AMQPReceiver.Configuration {
        var configuration = AMQPReceiver.Configuration(source: "q", window: window)
        configuration.settleMode = .second
        configuration.unsettledLimit = limit
        return configuration
    }

    /// Sends messages until the credit is used. Returns their number.
    private func sendAll(_ peer: InMemoryPeer, link: Int = 0, most: Int = .max) async throws -> Int {
        try await peer.run { peer in
            let count = min(most, Int(pn_link_credit(peer.links[link])))
            for _ in 0..<count { peer.send(payload(10), on: peer.links[link]) }
            return count
        }
    }

    /// Sends and accepts messages until the peer has no credit, up to `limit` messages. Returns their number.
    private func exchange(_ receiver: AMQPReceiver, _ peer: InMemoryPeer, most limit: Int = 10_000) async throws -> Int
    {
        var sent = 0
        while sent < limit {
            let count = try await self.sendAll(peer, most: limit - sent)
            guard count > 0 else { break }
            sent += count
            for _ in 0..<count { try #require(receiver.poll()).accept() }
            await peer.settle()
        }
        return sent
    }

    @Test(arguments: [
        AMQPReceiver.Window.messages(10), .messages(1_000), .unbounded, .automatic, .bytes(.kibibytes(4)), .manual,
    ])
    func messagesThatTheSenderNeverSettlesAreBounded(window: AMQPReceiver.Window) async throws {
        try await withSession(Self.settlingNothing) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(window, limit: 100))
            if window == .manual { receiver.grant(credit: 1_000) }
            await peer.settle()
            #expect(try await self.exchange(receiver, peer) == 100)
            var snapshot = try await receiver.snapshot()
            #expect(snapshot.unsettled == 100)
            #expect(snapshot.blockedBy == .unsettled)
            // The flow resumes once the sender settles, and stops at the same limit.
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await receiver.snapshot().blockedBy == nil)
            #expect(try await self.exchange(receiver, peer) == 100)
            snapshot = try await receiver.snapshot()
            #expect(snapshot.unsettled == 100 && snapshot.blockedBy == .unsettled)
        }
    }

    @Test(arguments: [AMQPReceiver.Window.messages(10), .automatic, .manual])
    func oneSettlementAdmitsOneMoreMessage(window: AMQPReceiver.Window) async throws {
        try await withSession(Self.settlingNothing) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(window, limit: 20))
            if window == .manual { receiver.grant(credit: 1_000) }
            await peer.settle()
            #expect(try await self.exchange(receiver, peer) == 20)
            for _ in 0..<50 {
                try await peer.run { peer in
                    let delivery = peer.unsettled.removeFirst()
                    pn_delivery_settle(delivery)
                }
                #expect(try await self.exchange(receiver, peer) == 1)
            }
        }
    }

    @Test func theDefaultLimitIsFiniteAndNilIsUnlimited() async throws {
        #expect(AMQPReceiver.Configuration().unsettledLimit == 8_192)
        try await withSession(Self.settlingNothing) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(.messages(512), limit: nil))
            #expect(try await self.exchange(receiver, peer, most: 9_000) == 9_000)
        }
        try await withSession(Self.settlingNothing) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(512))
            configuration.settleMode = .second
            let receiver = try await session.openReceiver(configuration)
            #expect(try await self.exchange(receiver, peer) == 8_192)
        }
    }

    @Test func theLimitAppliesOnlyInTheSecondMode() async throws {
        try await withSession { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            configuration.unsettledLimit = 1
            let receiver = try await session.openReceiver(configuration)
            #expect(receiver.credit == 10)
            configuration.unsettledLimit = 0
            await expectError(.invalidArgument) { try await session.openReceiver(configuration) }
        }
    }

    @Test func anApplicationThatHoldsItsMessagesIsTheCause() async throws {
        try await withSession(Self.settlingNothing) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(.messages(10), limit: 15))
            #expect(try await self.exchange(receiver, peer, most: 4) == 4)
            #expect(try await self.sendAll(peer) > 0)
            while try await self.sendAll(peer) > 0 {}
            #expect(try await receiver.snapshot().blockedBy == .application)
            while let delivery = receiver.poll() { delivery.accept() }
            await peer.settle()
            while try await self.exchange(receiver, peer) > 0 {}
            #expect(try await receiver.snapshot().blockedBy == .unsettled)
        }
    }

    /// Proton keeps decisions behind an undecided message until they are sent. No delay lets them accumulate.
    @Test func decisionsThatWaitToBeMergedAreBounded() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(20_000))
            configuration.settlementDelay = .seconds(3_600)
            let receiver = try await session.openReceiver(configuration)
            var sent = 0
            while sent < 9_000 { sent += try await self.sendAll(peer, most: 500) }
            let first = try #require(receiver.poll())
            while let delivery = receiver.poll() {
                delivery.accept()
                if receiver.bufferedMessages % 512 == 0 { await peer.settle() }
            }
            await peer.settle()
            #expect(try await peer.run { $0.outcomes.count } >= 8_192)
            #expect(try await receiver.snapshot().unsettled < 1_000)
            first.accept()
        }
    }

    /// Closed links are kept until the peer answers. If the peer never answers, the library attaches no further links.
    @Test func linksWhoseDetachIsNeverAnsweredAreBounded() async throws {
        try await withSession({ .notClosing }) { session, peer in
            try await peer.run { $0.handler.detachLimit = 10 }
            for index in 0..<10 {
                if index.isMultiple(of: 2) {
                    _ = try await session.openReceiver(from: "q")
                } else {
                    let sender = try await session.openSender(to: "q")
                    begin { await sender.close() }
                }
            }
            await peer.settle()
            let error = await expectError(.resourceLimitExceeded) { try await session.openSender(to: "q") }
            #expect(error?.detail == "the peer has not answered the detach of 10 links of this session")
            await expectError(.resourceLimitExceeded) { try await session.openReceiver(from: "q") }
            #expect(session.error == nil)
            // Another session has a limit of its own, and an answer makes room.
            _ = try await session.connection.openSession().openSender(to: "q")
            try await peer.run { pn_link_close($0.links[3]) }
            _ = try await session.openSender(to: "q")
        }
    }
}
