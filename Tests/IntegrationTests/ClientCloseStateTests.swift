// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// The close of a client in each of its states.
@Suite(.timeLimit(.minutes(3)))
struct ClientCloseStateTests {
    private static func expectClosed(
        _ client: AMQPClient,
        within limit: Duration,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> AMQPCloseResult {
        let result = try await within("the close", limit: .seconds(20)) { await client.close(within: limit) }
        #expect(client.state == .closed(nil) && client.connection == nil, sourceLocation: sourceLocation)
        let error = try await failure(of: "connecting") { try await client.connect() }
        #expect(error.condition == .closed, sourceLocation: sourceLocation)
        #expect(client.health.links == 0 && !client.health.isReady, sourceLocation: sourceLocation)
        // The events have ended, and a second close returns the same result.
        for await _ in client.events {}
        #expect(await "\(client.close())" == "\(result)", sourceLocation: sourceLocation)
        return result
    }

    @Test(arguments: [Duration.zero, .milliseconds(1), .seconds(30)])
    func idle(_ limit: Duration) async throws {
        let client = AMQPClient(url: "amqp://127.0.0.1:1")
        #expect(client.state == .idle)
        #expect(try await Self.expectClosed(client, within: limit).isComplete)
    }

    @Test(arguments: [Duration.zero, .milliseconds(1), .seconds(30)])
    func betweenTwoAttempts(_ limit: Duration) async throws {
        let refused = try RawSocket()
        let client = AMQPClient.impatient(["amqp://127.0.0.1:\(refused.port)"]) {
            $0.recovery.firstDelay = .seconds(1_000)
            $0.recovery.longestDelay = .seconds(1_000)
            $0.recovery.firstConnectionTimeout = nil
        }
        let opening = Task { try await client.sender(to: "q") }
        try await waitUntil("the attempt") { client.state == .connecting && client.health.links == 1 }
        #expect(try await Self.expectClosed(client, within: limit).isComplete)
        #expect(try await failure(of: "opening") { try await opening.value }.condition == .closed)
    }

    @Test(arguments: [Duration.zero, .milliseconds(1), .seconds(30)])
    func open(_ limit: Duration) async throws {
        try await withClient { client, peer, _ in
            let sender = try await client.sender(to: "q")
            _ = try await client.receiver(from: "jobs")
            try await sender.send(AMQPMessage(body: "m"))
            _ = try await Self.expectClosed(client, within: limit)
            #expect(sender.fates.accepted == 1 && sender.error?.condition == .closed)
            try await waitUntil("the end") { peer.connections.allSatisfy { $0.error != nil } }
        }
    }

    @Test(arguments: [Duration.zero, .milliseconds(1), .seconds(30)])
    func inARecovery(_ limit: Duration) async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            let receiver = try await client.receiver(from: "jobs")
            let waiting = Task { try await receiver.next() }
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil && receiver.link == nil }
            let tracker = try await sender.enqueue(AMQPMessage(body: "m"))
            let result = try await Self.expectClosed(client, within: limit)
            #expect(result.notSent == 1)
            #expect(try await failure(of: "the message") { try await tracker.outcome() }.fate == .notSent)
            #expect(try await within("the receiver", { try await waiting.value }) == nil)
        }
    }

    /// The links of the next connection are not attached yet, because the peer does not answer.
    @Test func whileLinksAreAttached() async throws {
        let line = Mutex<FaultProxy?>(nil)
        try await withClient {
            $0.connection.idleTimeout = nil
            $0.connection.operationTimeout = .seconds(60)
            $0.onConnect = { _, generation in
                if generation == 2 { line.withLock { $0 }?.end(.blackHole, .toClient) }
            }
        } _: { client, peer, proxy in
            line.withLock { $0 = proxy }
            let sender = try await client.sender(to: "q")
            proxy.end(.reset, .toServer)
            try await waitUntil("the next connection") { client.state == .open(generation: 2) && sender.link == nil }
            let tracker = try await sender.enqueue(AMQPMessage(body: "m"))
            let result = try await Self.expectClosed(client, within: .milliseconds(300))
            #expect(result.notSent + result.inDoubt == 1, "\(result)")
            #expect(tracker.result != nil)
        }
    }
}
