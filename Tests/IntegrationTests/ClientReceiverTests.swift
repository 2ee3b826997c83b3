// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// Receivers of a client while their connections and links are lost.
@Suite(.timeLimit(.minutes(3)))
struct ClientReceiverTests {
    @Test func aLoopContinuesAfterLosses() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            let received = Mutex<[String]>([])
            let loop = Task {
                for try await delivery in receiver {
                    received.withLock { $0.append((try? delivery.decodeMessage().bodyString) ?? "?") }
                    delivery.accept()
                }
            }
            for round in 0..<4 {
                try await waitUntil("link \(round)") { peer.senders.count == round + 1 }
                let sender = peer.senders[round]
                try await sender.send(AMQPMessage(body: "\(round)"))
                proxy.end(round % 2 == 0 ? .cut : .reset, .toServer)
            }
            try await waitUntil("the last link") { peer.senders.count == 5 && client.health.isReady }
            #expect(received.withLock { $0 } == ["0", "1", "2", "3"])
            #expect(Set(peer.senders.map(\.name)) == [receiver.name])
            await receiver.close()
            try await within("the end of the loop") { try await loop.value }
        }
    }

    @Test func aDecisionAboutAMessageOfALostLinkIsStale() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            try await waitUntil("the link") { peer.senders.count == 1 }
            let first = try await peer.senders[0].enqueue(AMQPMessage(body: "first"))
            let old = try #require(try await receiver.next())
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            // The new connection reuses the delivery-id of the old message.
            let second = try await peer.senders[1].enqueue(AMQPMessage(body: "second"))
            let new = try #require(try await receiver.next())
            #expect(old.accept() == .stale && old.reject() == .stale && [old].releaseAll() == .stale)
            guard case .notWritten = try await old.settled() else { return #expect(Bool(false)) }
            #expect(second.result == nil)
            #expect(new.reject(AMQPError(condition: .preconditionFailed)) == .queued)
            guard case .rejected = try await second.outcome() else { return #expect(Bool(false)) }
            let error = try await failure(of: "the first message") { try await first.outcome() }
            #expect(error.fate == .inDoubt)
        }
    }

    @Test func prefetchedMessagesOfALostLinkAreDroppedAndCounted() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q", window: .messages(10))
            try await waitUntil("the link") { peer.senders.count == 1 }
            for id in 0..<5 { _ = try await peer.senders[0].enqueue(AMQPMessage(body: "\(id)")) }
            try await waitUntil("the messages") { receiver.link?.bufferedMessages == 5 }
            let taken = try #require(try await receiver.next())
            #expect(try taken.decodeMessage().bodyString == "0")
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            #expect(receiver.droppedDeliveries == 4 && receiver.poll() == nil)
            _ = try await peer.senders[1].enqueue(AMQPMessage(body: "again"))
            let next = try #require(try await receiver.next())
            #expect(try next.decodeMessage().bodyString == "again" && next.accept() == .queued)
        }
    }

    @Test func settledMessagesOfALostLinkAreDelivered() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q", window: .messages(10))
            try await waitUntil("the link") { peer.senders.count == 1 }
            for id in 0..<3 { _ = try await peer.senders[0].enqueue(AMQPMessage(body: "\(id)"), settled: true) }
            try await waitUntil("the messages") { receiver.link?.bufferedMessages == 3 }
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            #expect(receiver.droppedDeliveries == 0)
            for id in 0..<3 {
                let delivery = try #require(try await receiver.next())
                #expect(try delivery.decodeMessage().bodyString == "\(id)" && delivery.isSettled)
            }
        }
    }

    @Test func waitingTasksKeepTheirOrder() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            try await waitUntil("the link") { peer.senders.count == 1 }
            let received = Mutex<[Int: String]>([:])
            var tasks: [Task<Void, any Error>] = []
            for index in 0..<8 {
                let wait: @Sendable () async throws -> Void = {
                    let delivery = try await receiver.next()
                    received.withLock { $0[index] = try? delivery?.decodeMessage().bodyString }
                    delivery?.accept()
                }
                tasks.append(Task.immediate { try await wait() })
            }
            for loss in 1...3 {
                proxy.end(.cut, .toServer)
                try await waitUntil("link \(loss)") { peer.senders.count == loss + 1 && client.health.isReady }
            }
            tasks[2].cancel()
            _ = try await failure(of: "the cancelled task") { [task = tasks[2]] in try await task.value }
            // Later tasks wait behind them.
            let late = Task.immediate { try await receiver.next()?.decodeMessage().bodyString }
            let sender = try #require(peer.senders.last)
            for id in 0..<8 { _ = try await sender.enqueue(AMQPMessage(body: "\(id)")) }
            for index in [0, 1, 3, 4, 5, 6, 7] { try await tasks[index].value }
            #expect(received.withLock { $0 } == [0: "0", 1: "1", 3: "2", 4: "3", 5: "4", 6: "5", 7: "6"])
            #expect(try await late.value == "7")
        }
    }

    @Test func aTimeoutContinuesThroughALoss() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            try await waitUntil("the link") { peer.senders.count == 1 }
            let start = ContinuousClock.now
            let waiting = Task { try await receiver.receive(timeout: .seconds(3)) }
            try await Task.sleep(for: .milliseconds(50))
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            #expect(try await within("the answer", { try await waiting.value }) == nil)
            let time = ContinuousClock.now - start
            #expect(time >= .seconds(3) && time < .seconds(20), "\(time)")
            // A message that arrives before the timeout is received.
            let second = Task { try await receiver.receive(timeout: .seconds(30)) }
            try await Task.sleep(for: .milliseconds(20))
            proxy.end(.cut, .toServer)
            try await waitUntil("the third link") { peer.senders.count == 3 && client.health.isReady }
            _ = try await peer.senders[2].enqueue(AMQPMessage(body: "m"))
            #expect(try await within("the message", { try await second.value })?.decodeMessage().bodyString == "m")
        }
    }

    @Test func aTimeoutDuringAnOutageNamesTheOutage() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            proxy.beginOutage()
            try await waitUntil("the loss") { receiver.link == nil }
            let error = try await failure(of: "receiving") { try await receiver.receive(timeout: .milliseconds(50)) }
            #expect(error.condition == .timeout && error.detail.contains("not attached again"))
        }
    }

    @Test func aPausedReceiverRemainsPaused() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            try await receiver.pause()
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            #expect(receiver.isPaused)
            try await waitUntil("the link's pause") { receiver.link?.isPaused == true }
            try await waitUntil("the credit's return") { peer.senders[1].credit == 0 }
            let tracker = try await peer.senders[1].enqueue(AMQPMessage(body: "m"))
            receiver.resume()
            #expect(try await receiver.next()?.accept() == .queued)
            #expect(try await tracker.outcome() == .accepted)
        }
    }

    @Test func manuallyGrantedCreditIsGrantedAgain() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(.init(source: "q", window: .manual))
            try await waitUntil("the link") { peer.senders.count == 1 }
            receiver.grant(credit: 5)
            for id in 0..<2 { _ = try await peer.senders[0].enqueue(AMQPMessage(body: "\(id)")) }
            for _ in 0..<2 { try await receiver.next()?.accept() }
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            try await waitUntil("the credit") { peer.senders[1].credit == 3 }
        }
    }

    @Test func aRateLimitAppliesToTheNextLink() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            try receiver.setRateLimit(.init(messagesPerSecond: 20, burst: .milliseconds(50)))
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            let start = ContinuousClock.now
            for id in 0..<8 { _ = try await peer.senders[1].enqueue(AMQPMessage(body: "\(id)")) }
            for _ in 0..<8 { try await receiver.next()?.accept() }
            #expect(ContinuousClock.now - start > .milliseconds(200))
            let error = try await failure(of: "the rate") { try receiver.setRateLimit(.init(messagesPerSecond: -1)) }
            #expect(error.condition == .invalidArgument)
        }
    }

    @Test func theSettingsOfTheNextLinkCanDiffer() async throws {
        try await withClient { client, peer, proxy in
            let offset = Mutex<UInt64>(41)
            let receiver = try await client.receiver(.init(source: "s")) { configuration in
                configuration.source.filters = [.streamOffset(.offset(offset.withLock { $0 } + 1))]
            }
            #expect(receiver.link?.remoteSource.filters == [])
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && receiver.link != nil }
            #expect(receiver.link?.remoteSource.filters == [.streamOffset(.offset(42))])
        }
    }

    @Test func aLinkThatThePeerClosesIsAttachedAgain() async throws {
        try await withClient { client, peer, _ in
            let receiver = try await client.receiver(from: "q")
            let waiting = Task { try await receiver.next()?.decodeMessage().bodyString }
            try await waitUntil("the link") { peer.senders.count == 1 }
            _ = await peer.senders[0].close()
            try await waitUntil("the next link") { peer.senders.count == 2 }
            _ = try await peer.senders[1].enqueue(AMQPMessage(body: "m"))
            #expect(try await within("the message", { try await waiting.value }) == "m")
            #expect(peer.connections.count == 1)
        }
    }

    @Test func aDeletedQueueEndsTheReceiver() async throws {
        try await withClient { client, peer, _ in
            let receiver = try await client.receiver(from: "q")
            let waiting = Task { try await receiver.next() }
            try await waitUntil("the link") { peer.senders.count == 1 }
            _ = await peer.senders[0].close(AMQPError(scope: .link, condition: .resourceDeleted))
            let error = try await failure(of: "receiving") { try await waiting.value }
            #expect(error.condition == .resourceDeleted)
            try await waitUntil("the end") { client.health.links == 0 }
            #expect(receiver.error?.condition == .resourceDeleted && client.state == .open(generation: 1))
        }
    }

    @Test func aClosedReceiverEndsItsTasksDuringAnOutage() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            proxy.beginOutage()
            try await waitUntil("the loss") { receiver.link == nil }
            let waiting = Task { try await receiver.next() }
            await receiver.close()
            #expect(try await within("the end", { try await waiting.value }) == nil)
            #expect(try await receiver.next() == nil && receiver.poll() == nil)
            #expect(client.health.links == 0)
        }
    }

    @Test func theReleaseOfTheLastReferenceClosesTheReceiver() async throws {
        try await withClient { client, peer, _ in
            var receiver: AMQPClient.Receiver? = try await client.receiver(from: "q")
            #expect(receiver != nil && client.health.links == 1)
            receiver = nil
            try await waitUntil("the end") { client.health.links == 0 }
            try await waitUntil("the detach") { peer.senders.allSatisfy { $0.error != nil } }
        }
    }
}
