// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// Consumers that lose their links while they handle messages.
@Suite(.timeLimit(.minutes(3)))
struct ClientConsumerLossTests {
    @Test func handlersAndTheConsumerContinueThroughALoss() async throws {
        let log = HandlerLog()
        try await withConsumer {
            $0.concurrency = 2
        } handler: { delivery in
            let body = try delivery.text
            log.add(body)
            if body == "old" { try await log.pass("old") }
            log.add("end of \(body)")
        } _: { consumer, sender, peer, proxy in
            let old = try await sender.enqueue(AMQPMessage(body: "old"))
            try await waitUntil("the handler") { log.all == ["old"] }
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 }
            #expect(try await peer.senders[1].send(AMQPMessage(body: "new")) == .accepted)
            log.open("old")
            try await waitUntil("the stale decision") { consumer.result.stale == 1 }
            #expect(log.all.last == "end of old")
            let error = try await failure(of: "the old message") { try await old.outcome() }
            #expect(error.fate == .inDoubt)
            // The message's place is free again, so both handlers run.
            try await waitUntil("credit") { peer.senders[1].credit >= 1 }
            #expect(try await peer.senders[1].send(AMQPMessage(body: "old2")) == .accepted)
            let result = await consumer.stop()
            #expect(
                result.received == 3 && result.accepted == 2 && result.stale == 1 && result.handled == 3
            )
        }
    }

    @Test func waitingMessagesOfALostLinkAreNotHandledTwice() async throws {
        let log = HandlerLog()
        try await withConsumer {
            $0.order = .by { _ in "one key" }
            $0.prefetch = .messages(10)
        } handler: { delivery in
            let body = try delivery.text
            log.add(body)
            if body == "0" { try await log.pass("0") }
        } _: { consumer, sender, peer, proxy in
            for number in 0..<5 { _ = try await sender.enqueue(AMQPMessage(body: "\(number)")) }
            try await waitUntil("the messages") { consumer.result.received == 5 }
            proxy.end(.reset, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 }
            var trackers: [AMQPTracker] = []
            for number in 10..<15 {
                trackers.append(try await peer.senders[1].enqueue(AMQPMessage(body: "\(number)")))
            }
            log.open("0")
            for tracker in trackers { #expect(try await tracker.outcome() == .accepted) }
            #expect(log.all == ["0", "10", "11", "12", "13", "14"])
            let result = await consumer.stop()
            #expect(result.stale == 5 && result.accepted == 5 && result.received == 10)
        }
    }

    @Test func manyLossesLeaveNoMessageBehind() async throws {
        let handled = Mutex<[String: Int]>([:])
        try await withConsumer {
            $0.concurrency = 4
        } handler: { delivery in
            let body = try delivery.text
            let count = handled.withLock { handled -> Int in
                handled[body, default: 0] += 1
                return handled[body] ?? 0
            }
            if count == 1, body.hasSuffix("3") { throw HandlerFailure() }
        } _: { consumer, _, peer, proxy in
            var todo = Set((0..<400).map { "\($0)" })
            var round = 0
            while !todo.isEmpty {
                try await waitUntil("link \(round)") { peer.senders.count == round + 1 }
                let sender = peer.senders[round]
                var trackers: [(String, AMQPTracker)] = []
                for body in todo.sorted().prefix(60) {
                    guard let tracker = try? await sender.enqueue(AMQPMessage(body: body)) else { break }
                    trackers.append((body, tracker))
                }
                let isLast = round == 12
                if !isLast {
                    // The first twelve links are cut at different stages of their work.
                    try await Task.sleep(for: .milliseconds(round))
                    proxy.end(round % 2 == 0 ? .cut : .reset, .toServer)
                    round += 1
                }
                for (body, tracker) in trackers where (try? await tracker.outcome()) == .accepted {
                    todo.remove(body)
                }
            }
            #expect(handled.withLock { $0.count } == 400)
            let result = await consumer.stop()
            let fates = result.accepted + result.failed + result.stale + result.released
            #expect(
                result.received == fates && result.inProgress == 0 && result.rejected == 0,
                "\(result)"
            )
        }
    }
}
