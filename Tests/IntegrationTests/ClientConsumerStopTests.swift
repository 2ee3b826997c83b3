// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// The ends of a consumer, orderly and otherwise.
@Suite(.timeLimit(.minutes(3)))
struct ClientConsumerStopTests {
    @Test func aStopWaitsForHandlersAndReleasesTheRest() async throws {
        let log = HandlerLog()
        try await withConsumer {
            $0.concurrency = 2
            $0.prefetch = .messages(3)
        } handler: { delivery in
            let body = try delivery.text
            log.add(body)
            try await log.pass(body)
        } _: { consumer, sender, peer, _ in
            let trackers = try await (0..<10).asyncMap {
                try await sender.enqueue(AMQPMessage(body: "\($0)"))
            }
            try await waitUntil("five messages") { sender.credit == 0 && log.all.count == 2 }
            let stopping = Task { await consumer.stop(within: .seconds(30)) }
            // Prefetched messages are released at once, and the consumer grants no further credit.
            for tracker in trackers[2..<5] { #expect(try await tracker.outcome() == .released) }
            #expect(trackers[0].result == nil && trackers[1].result == nil && trackers[5].result == nil)
            log.open("0")
            log.open("1")
            for tracker in trackers[0..<2] { #expect(try await tracker.outcome() == .accepted) }
            let result = try await within("the stop") { await stopping.value }
            #expect(
                result.received == 5 && result.accepted == 2 && result.released == 3
                    && result.unfinished == 0
            )
            #expect(result.settlementsNotWritten == 0 && result.settlementsInDoubt == 0)
            try await within("the end of the link") { try? await sender.waitUntilClosed() }
            #expect(Set(log.all) == ["0", "1"])
        }
    }

    @Test func handlersAreCancelledBeforeTheLimitAndTheirMessagesReleased() async throws {
        let (log, gate) = (HandlerLog(), HandlerLog())
        try await withConsumer {
            $0.concurrency = 3
        } handler: { delivery in
            switch try delivery.text {
            case "obeys": try await log.pass("never")
            case "finishes":
                try? await log.pass("never")
            default:
                // The handler ignores its cancellation.
                await Task { try? await gate.pass("end") }.value
            }
        } _: { consumer, sender, _, _ in
            var trackers: [AMQPTracker] = []
            for body in ["obeys", "finishes", "hangs"] {
                trackers.append(try await sender.enqueue(AMQPMessage(body: body)))
            }
            try await waitUntil("three handlers") { consumer.result.handled == 3 }
            let start = ContinuousClock.now
            let result = await consumer.stop(within: .milliseconds(500))
            #expect(ContinuousClock.now - start < .seconds(10))
            #expect(
                result.accepted == 1 && result.released == 2 && result.unfinished == 1 && result.threw == 0
            )
            #expect(try await trackers[0].outcome() == .released)
            #expect(try await trackers[1].outcome() == .accepted)
            #expect(try await trackers[2].outcome() == .released)
            gate.open("end")
            try await waitUntil("the last handler") { consumer.result.unfinished == 0 }
        }
    }

    @Test func cancellationStopsInOrderAndReturnsTheCounts() async throws {
        try await withClient { client, peer, _ in
            let log = HandlerLog()
            let consuming = Task {
                try await client.consume(from: "q", concurrency: 1) { _ in
                    log.add("begun")
                    try await log.pass("end")
                    #expect(!Task.isCancelled)
                }
            }
            try await waitUntil("the link") { peer.senders.count == 1 }
            let tracker = try await peer.senders[0].enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the handler") { log.all.count == 1 }
            consuming.cancel()
            log.open("end")
            let result = try await within("the end") { try await consuming.value }
            #expect(result.accepted == 1 && result.received == 1)
            #expect(try await tracker.outcome() == .accepted)
        }
    }

    @Test func aCloseOfTheClientEndsTheConsumer() async throws {
        try await withClient { client, peer, _ in
            let log = HandlerLog()
            let consuming = Task {
                try await client.consume(from: "q") { _ in
                    log.add("begun")
                    try await log.pass("end")
                }
            }
            try await waitUntil("the link") { peer.senders.count == 1 }
            let tracker = try await peer.senders[0].enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the handler") { log.all.count == 1 }
            let closing = Task { await client.close(within: .seconds(30)) }
            try await waitUntil("the close") { client.state == .closing }
            log.open("end")
            #expect(try await tracker.outcome() == .accepted)
            #expect(try await within("the close") { await closing.value }.isComplete)
            let result = try await within("the end") { try await consuming.value }
            #expect(result.accepted == 1, "\(result)")
        }
    }

    @Test func aRefusedLinkThrows() async throws {
        try await withClient { client, peer, _ in
            peer.refuse("q", AMQPError(condition: .notFound))
            let consumer = AMQPConsumer(client, .init(source: "q")) { _ in }
            let error = try await failure(of: "consuming") { try await consumer.run() }
            #expect(error.condition == .notFound)
            let again = try await failure(of: "running again") { try await consumer.run() }
            #expect(again.condition == .invalidArgument)
            #expect(await consumer.stop().received == 0)
        }
    }

    @Test func wrongSettingsThrow() async throws {
        let client = AMQPClient(url: "amqp://127.0.0.1:1")
        let changes: [@Sendable (inout AMQPConsumer.Configuration) -> Void] = [
            { $0.concurrency = 0 }, { $0.attempts = 0 }, { $0.timeout = .zero }, { $0.waitingLimit = 0 },
            { $0.retryDelay = .seconds(-1) },
        ]
        for change in changes {
            var configuration = AMQPConsumer.Configuration(source: "q")
            change(&configuration)
            let error = try await failure(of: "consuming") { [configuration] in
                try await client.consume(configuration) { _ in }
            }
            #expect(error.condition == .invalidArgument)
        }
        // A consumer that was stopped before it ran does nothing.
        let consumer = AMQPConsumer(client, .init(source: "q")) { _ in }
        #expect(await consumer.stop().received == 0)
        try await consumer.run()
        #expect(consumer.result.received == 0 && client.state == .idle)
    }

    @Test func aStopDuringAnOutageEnds() async throws {
        try await withConsumer { _ in
        } _: { consumer, sender, _, proxy in
            #expect(try await sender.send(AMQPMessage(body: "m")) == .accepted)
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.error != nil }
            let result = try await within("the stop") { await consumer.stop(within: .seconds(30)) }
            #expect(result.accepted == 1)
        }
    }

    @Test func aPeerThatFallsSilentDoesNotOutlastTheLimit() async throws {
        let log = HandlerLog()
        try await withConsumer { _ in
            log.add("begun")
            try await log.pass("end")
        } _: { consumer, sender, _, proxy in
            _ = try await sender.enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the handler") { log.all.count == 1 }
            for direction in FaultDirection.allCases { proxy.end(.blackHole, direction) }
            log.open("end")
            let start = ContinuousClock.now
            let result = try await within("the stop") { await consumer.stop(within: .seconds(2)) }
            let time = ContinuousClock.now - start
            #expect(time < .seconds(5), "\(time)")
            // The decision may have been written, but it is unknown whether the peer has read it.
            #expect(result.accepted == 1 && result.inProgress == 0)
            #expect(result.settlementsInDoubt + result.settlementsNotWritten == 1, "\(result)")
        }
    }
}
