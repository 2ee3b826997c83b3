// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import TestSupport
import Testing

/// Senders of a client while their connections, sessions and links are lost.
@Suite(.timeLimit(.minutes(3)))
struct ClientSenderTests {
    @Test func aMessageIsSentAndSettled() async throws {
        try await withClient { client, peer, _ in
            #expect(client.state == .idle)
            let sender = try await client.sender(to: "q")
            #expect(client.state == .open(generation: 1) && client.health.isReady)
            #expect(try await sender.send(AMQPMessage(body: "a")) == .accepted)
            #expect(peer.ids == ["a"] && sender.unsettledBytes == 0)
        }
    }

    /// A readiness probe that runs after a call has returned sees the result of that call.
    @Test func theClientIsReadyWhenALinkIsOpen() async throws {
        try await withClient { client, _, _ in
            for round in 0..<100 {
                let sender = try await client.sender(to: "q\(round)")
                #expect(client.health.isReady, "sender, round \(round)")
                let receiver = try await client.receiver(from: "q\(round)")
                #expect(client.health.isReady, "receiver, round \(round)")
                await sender.close(within: .zero)
                await receiver.close()
            }
        }
    }

    @Test func sendingContinuesAfterALoss() async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            try await sender.send(AMQPMessage(body: "before"))
            proxy.end(.reset, .toServer)
            let tracker = try await sender.enqueue(AMQPMessage(body: "after"))
            #expect(try await tracker.outcome() == .accepted)
            // The message may have left before the client noticed the reset.
            #expect(peer.ids == ["before"] + Array(repeating: "after", count: peer.ids.count - 1))
            #expect(peer.ids.count == 2 || tracker.attempts > 1)
            try await waitUntil("the recovery") { client.health.isReady }
            #expect(client.state == .open(generation: 2) && peer.connections.count == 2)
            // All links of one sender have the same name.
            #expect(Set(peer.receivers.map(\.name)) == [sender.name])
        }
    }

    @Test func aMessageInDoubtIsSentAgainAndFlagged() async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            let settled = try await sender.enqueue(AMQPMessage(body: "settled"))
            _ = try await settled.outcome()
            proxy.end(.blackHole, .toClient)
            let tracker = try await sender.enqueue(AMQPMessage(body: "doubtful"))
            try await waitUntil("the arrival") { peer.ids.last == "doubtful" }
            #expect(tracker.attempts == 1 && tracker.result == nil)
            proxy.end(.cut, .toServer)
            #expect(try await tracker.outcome() == .accepted)
            #expect(peer.ids == ["settled", "doubtful", "doubtful"])
            #expect(tracker.attempts == 2 && settled.attempts == 1)
        }
    }

    @Test func aReplayIsAnnotatedIfConfigured() async throws {
        try await withClient { client, peer, proxy in
            var configuration = AMQPClient.Sender.Configuration(target: "q")
            configuration.marksReplays = true
            let sender = try await client.sender(configuration)
            proxy.end(.blackHole, .toClient)
            var message = AMQPMessage(body: "m")
            message.header.durable = true
            message.messageAnnotations["x-opt-mine"] = 1
            message.properties.subject = "s"
            let tracker = try await sender.enqueue(message)
            try await waitUntil("the arrival") { peer.ids.count == 1 }
            proxy.end(.cut, .toServer)
            _ = try await tracker.outcome()
            let (first, second) = (peer.arrivals[0].message, peer.arrivals[1].message)
            #expect(first.messageAnnotations[symbol: "x-opt-replayed"] == nil)
            #expect(second.messageAnnotations[symbol: "x-opt-replayed"] == true)
            #expect(second.messageAnnotations.count == first.messageAnnotations.count + 1)
            #expect(second.header.durable && second.properties.subject == "s" && second.bodyString == "m")
        }
    }

    @Test func withoutReplayAMessageInDoubtFails() async throws {
        try await withClient { client, peer, proxy in
            var configuration = AMQPClient.Sender.Configuration(target: "q")
            configuration.onLoss = .fail
            let sender = try await client.sender(configuration)
            proxy.end(.blackHole, .toClient)
            let tracker = try await sender.enqueue(AMQPMessage(body: "doubtful"))
            try await waitUntil("the arrival") { peer.ids.count == 1 }
            proxy.end(.cut, .toServer)
            let error = try await failure(of: "the message") { try await tracker.outcome() }
            #expect(error.fate == .inDoubt && error.condition == .connectionLost && error.isRetryable)
            try await sender.send(AMQPMessage(body: "next"))
            #expect(peer.ids == ["doubtful", "next"])
        }
    }

    @Test func aPoisonousMessageFailsAndTheOthersContinue() async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            peer.settle(false)
            let poison = try await sender.enqueue(AMQPMessage(body: "poison"))
            let next = try await sender.enqueue(AMQPMessage(body: "next"))
            for loss in 1...3 {
                try await waitUntil("arrivals \(loss)") { peer.ids.count == 2 * loss }
                if loss == 3 { peer.settle(true) }
                proxy.end(.cut, .toServer)
            }
            let error = try await failure(of: "the message") { try await poison.outcome() }
            #expect(error.condition == .poison && error.fate == .inDoubt && !error.isRetryable)
            #expect(error.detail.contains("3 losses in a row") && error.underlying is AMQPError)
            #expect(try await next.outcome() == .accepted && next.attempts == 4)
        }
    }

    // MARK: Scopes

    @Test func onlyADetachedLinkIsAttachedAgain() async throws {
        try await withClient { client, peer, _ in
            let (one, other) = (try await client.sender(to: "one"), try await client.sender(to: "other"))
            let (link, session) = (try #require(other.link), try #require(one.link?.session))
            try await waitUntil("the links") { peer.receivers.count == 2 }
            let error = AMQPError(scope: .link, condition: .linkDetachForced, detail: "maintenance")
            _ = await peer.receivers[0].close(error)
            try await one.send(AMQPMessage(body: "a"))
            try await other.send(AMQPMessage(body: "b"))
            #expect(client.state == .open(generation: 1) && peer.connections.count == 1 && link.error == nil)
            #expect(peer.receivers.count == 3 && one.link?.session === session)
        }
    }

    @Test func anEndedSessionLosesOnlyItsLink() async throws {
        try await withClient { client, peer, _ in
            let (one, other) = (try await client.sender(to: "one"), try await client.sender(to: "other"))
            let link = try #require(other.link)
            try await waitUntil("the links") { peer.receivers.count == 2 }
            _ = await peer.receivers[0].session.close(AMQPError(scope: .session, condition: .resourceLimitExceeded))
            try await one.send(AMQPMessage(body: "a"))
            #expect(client.state == .open(generation: 1) && peer.connections.count == 1 && link.error == nil)
            #expect(peer.receivers.count == 3)
        }
    }

    @Test func aRefusedLinkFailsAlone() async throws {
        try await withClient { client, peer, _ in
            let sender = try await client.sender(to: "q")
            peer.refuse("missing", AMQPError(scope: .session, condition: .notFound), endingSessions: true)
            let error = try await failure(of: "the sender") { try await client.sender(to: "missing") }
            #expect(error.condition == .notFound)
            try await sender.send(AMQPMessage(body: "a"))
            #expect(client.state == .open(generation: 1) && client.health.links == 1 && peer.connections.count == 1)
        }
    }

    @Test func aLinkRefusedAfterALossFailsWithItsMessages() async throws {
        try await withClient { client, peer, proxy in
            let (gone, other) = (try await client.sender(to: "gone"), try await client.sender(to: "other"))
            proxy.beginOutage()
            try await waitUntil("the loss") { gone.link == nil && other.link == nil }
            let tracker = try await gone.enqueue(AMQPMessage(body: "a"))
            peer.refuse("gone", AMQPError(scope: .link, condition: .notFound, detail: "deleted"))
            proxy.endOutage()
            let error = try await failure(of: "the message") { try await tracker.outcome() }
            #expect(error.condition == .notFound && error.fate == .notSent)
            try await other.send(AMQPMessage(body: "b"))
            #expect(gone.error?.condition == .notFound && other.error == nil)
            let late = try await failure(of: "another message") { try await gone.send(AMQPMessage(body: "c")) }
            #expect(late.condition == .notFound && late.fate == .notSent)
        }
    }

    @Test func linksBeyondTheLimitShareSessions() async throws {
        try await withClient {
            $0.sessionLimit = 3
        } _: { client, peer, proxy in
            var senders: [AMQPClient.Sender] = []
            for index in 0..<7 { senders.append(try await client.sender(to: "q\(index)")) }
            #expect(Set(senders.compactMap(\.link?.session)).count == 3)
            peer.refuse("missing", AMQPError(scope: .session, condition: .notFound), endingSessions: true)
            _ = try await failure(of: "the sender") { try await client.sender(to: "missing") }
            for sender in senders { try await sender.send(AMQPMessage(body: sender.name)) }
            #expect(senders.allSatisfy { $0.link?.error == nil })
            proxy.end(.reset, .toClient)
            for sender in senders { try await sender.send(AMQPMessage(body: sender.name)) }
            #expect(Set(senders.compactMap(\.link?.session)).count == 3)
        }
    }
}
