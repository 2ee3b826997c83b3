// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// The order in which a client restores a new connection.
@Suite(.timeLimit(.minutes(3)))
struct ClientRestoreTests {
    /// Runs `body` with a client that has a message in doubt. On its next connection the peer grants the sender no
    /// credit.
    private func withReplay(
        _ body: (AMQPClient.Sender, AMQPClient.Receiver, ClientPeer, AMQPClient) async throws -> Void
    ) async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            let receiver = try await client.receiver(from: "jobs")
            peer.settle(false)
            _ = try await sender.enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the message") { peer.ids == ["m"] }
            peer.withholdCredit(true)
            proxy.end(.cut, .toServer)
            try await waitUntil("the links") { peer.senders.count == 2 && peer.receivers.count == 2 }
            #expect(peer.attaches == ["q", "jobs", "jobs", "q"])
            try await body(sender, receiver, peer, client)
        }
    }

    @Test func receiversGetTheirCreditAfterTheReplay() async throws {
        let start = ContinuousClock.now
        try await withReplay { sender, receiver, peer, client in
            // The client withholds the credit for one second at most.
            let credit = peer.senders[1].credit
            #expect(credit == 0 || ContinuousClock.now - start > .milliseconds(900))
            peer.receivers[1].grant(credit: 10)
            try await waitUntil("the replay") { peer.ids == ["m", "m"] }
            try await waitUntil("the credit") { peer.senders[1].credit > 0 && receiver.link != nil }
            peer.arrivals[1].delivery.accept()
            try await waitUntil("the outcome") { sender.fates.accepted == 1 }
            _ = try await peer.senders[1].enqueue(AMQPMessage(body: "job"))
            #expect(try await receiver.next()?.accept() == .queued)
        }
    }

    @Test func receiversGrantCreditEvenIfThePeerGrantsNone() async throws {
        try await withReplay { sender, receiver, peer, client in
            try await waitUntil("the credit") { peer.senders[1].credit > 0 }
            #expect(peer.ids == ["m"])
            _ = try await peer.senders[1].enqueue(AMQPMessage(body: "job"))
            #expect(try await receiver.next()?.accept() == .queued)
            try await waitUntil("the recovery") { client.health.isReady }
        }
    }

    @Test func aReceiverWithoutCreditIsNotEmpty() async throws {
        let start = ContinuousClock.now
        try await withReplay { sender, receiver, peer, client in
            do {
                _ = try await receiver.receive(timeout: .milliseconds(10))
                // The receiver already had its credit, and the peer had no message.
                #expect(ContinuousClock.now - start > .milliseconds(900))
            } catch {
                #expect((error as? AMQPError)?.condition == .timeout, "\(error)")
            }
        }
    }

    @Test func aPausedReceiverRemainsPaused() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "jobs")
            let sender = try await client.sender(to: "q")
            try await receiver.pause()
            proxy.end(.cut, .toServer)
            try await waitUntil("the links") { client.state == .open(generation: 2) && receiver.link != nil }
            try await sender.send(AMQPMessage(body: "m"))
            #expect(receiver.isPaused && receiver.link?.isPaused == true && peer.senders[1].credit == 0)
            receiver.resume()
            try await waitUntil("the credit") { peer.senders[1].credit > 0 }
        }
    }
}
