// SPDX-License-Identifier: Apache-2.0

import TestSupport

#if ServiceLifecycle
    import Logging
    import QpidProton
    import ServiceLifecycle
    import ServiceLifecycleTestKit
    import Synchronization
    import Testing

    /// Clients, consumers and listeners as services: the effects and the duration of a graceful shutdown.
    @Suite(.timeLimit(.minutes(3)))
    struct ServiceTests {
        private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

        /// Returns the duration of `body`.
        private static func time(_ body: () async throws -> Void) async rethrows -> Duration {
            let start = ContinuousClock.now
            try await body()
            return ContinuousClock.now - start
        }

        // MARK: The client

        @Test func aShutdownSendsAcceptedMessagesAndReturns() async throws {
            try await withClient { client, peer, _ in
                peer.settle(false)
                try await testGracefulShutdown { trigger in
                    let running = Task { try await client.run() }
                    let sender = try await client.sender(to: "q")
                    let trackers = try await (0..<50).asyncMap { try await sender.enqueue(AMQPMessage(body: "\($0)")) }
                    try await waitUntil("the messages") { peer.ids.count == 50 }
                    trigger.triggerGracefulShutdown()
                    try await waitUntil("the close") { client.state == .closing }
                    // The client waits for the outcomes and abandons no message.
                    #expect(trackers.allSatisfy { $0.result == nil })
                    for arrival in peer.arrivals { arrival.delivery.accept() }
                    try await within("the end") { try await running.value }
                    for tracker in trackers { #expect(try await tracker.outcome() == .accepted) }
                    #expect(client.state == .closed(nil))
                    #expect(await client.close().isComplete)
                }
            }
        }

        @Test func aShutdownEndsAnAttemptAtOnce() async throws {
            // The socket accepts connections, but sends nothing.
            let socket = try RawSocket()
            socket.listen(backlog: 8)
            let client = AMQPClient(url: "amqp://127.0.0.1:\(socket.port)")
            try await self.expectEndAtOnce(client) { client.state == .connecting }
        }

        @Test func aShutdownEndsABackoffAtOnce() async throws {
            let socket = try RawSocket()
            var configuration = AMQPClient.Configuration()
            configuration.recovery.firstDelay = .seconds(1_000)
            configuration.recovery.longestDelay = .seconds(1_000)
            let client = AMQPClient(url: "amqp://127.0.0.1:\(socket.port)", configuration: configuration)
            let failed = Shared(false)
            let watching = Task {
                for await event in client.events { if case .attemptFailed = event { failed.withLock { $0 = true } } }
            }
            try await self.expectEndAtOnce(client) { failed.withLock { $0 } }
            await watching.value
        }

        private func expectEndAtOnce(_ client: AMQPClient, when condition: @escaping @Sendable () -> Bool) async throws
        {
            try await testGracefulShutdown { trigger in
                let running = Task { try await client.run() }
                let consumer = AMQPConsumer(client, .init(source: "q")) { _ in }
                let consuming = Task { try await consumer.run() }
                let sending = Task { try await client.sender(to: "q") }
                try await waitUntil("the attempt") { condition() }
                let time = try await Self.time {
                    trigger.triggerGracefulShutdown()
                    try await within("the end") { try await running.value }
                    try await within("the end of the consumer") { try await consuming.value }
                }
                #expect(time < .seconds(15), "\(time)")
                #expect(client.state == .closed(nil))
                let error = try await failure(of: "the sender") { try await sending.value }
                #expect(error.condition == .closed)
            }
        }

        @Test func aShutdownDuringAnOutageReportsUnsentMessages() async throws {
            try await withClient { client, peer, proxy in
                try await testGracefulShutdown { trigger in
                    let running = Task { try await client.run() }
                    let sender = try await client.sender(to: "q")
                    proxy.beginOutage()
                    proxy.end(.cut, .toServer)
                    try await waitUntil("the loss") { if case .recovering = client.state { true } else { false } }
                    for number in 0..<3 { try await sender.enqueue(AMQPMessage(body: "\(number)")) }
                    trigger.triggerGracefulShutdown()
                    try await within("the end") { try await running.value }
                    #expect(await client.close().notSent == 3)
                }
            }
        }

        @Test func aClientShutDownBeforeItRunsNeverConnects() async throws {
            try await withClient { client, peer, _ in
                try await testGracefulShutdown { trigger in
                    trigger.triggerGracefulShutdown()
                    try await within("the end") { try await client.run() }
                    let consumer = AMQPConsumer(client, .init(source: "q")) { _ in }
                    try await within("the end of the consumer") { try await consumer.run() }
                }
                #expect(client.state == .closed(nil) && peer.connections.isEmpty)
            }
        }

        @Test func aCancellationShortensAShutdown() async throws {
            try await withClient { client, peer, _ in
                peer.settle(false)
                try await testGracefulShutdown { trigger in
                    let running = Task { try await client.run() }
                    let sender = try await client.sender(to: "q")
                    let tracker = try await sender.enqueue(AMQPMessage(body: "m"))
                    try await waitUntil("the message") { peer.ids.count == 1 }
                    trigger.triggerGracefulShutdown()
                    try await waitUntil("the close") { client.state == .closing }
                    let time = try await Self.time {
                        running.cancel()
                        try await within("the end") { try await running.value }
                    }
                    #expect(time < .seconds(15), "\(time)")
                    #expect(await client.close().inDoubt == 1)
                    #expect(try await failure(of: "the message") { try await tracker.outcome() }.fate == .inDoubt)
                }
            }
        }

        @Test func aCancellationWithoutAShutdownEndsTheClientWithAnError() async throws {
            try await withClient { client, _, _ in
                let running = Task { try await client.run() }
                _ = try await client.sender(to: "q")
                running.cancel()
                #expect(try await failure(of: "running") { try await running.value }.condition == .cancelled)
                #expect(client.state == .closed(nil))
            }
        }

        // MARK: The consumer

        @Test func aGroupStopsConsumersFirstAndSendsTheirAnswers() async throws {
            try await withClient { client, peer, _ in
                let answers = try await client.sender(to: "answers")
                let begun = Shared(0)
                let goes = Shared(false)
                let consumer = AMQPConsumer(client, .init(source: "jobs")) { delivery in
                    begun.withLock { $0 += 1 }
                    try await waitUntil("the test") { goes.withLock { $0 } }
                    // A handler can still send, because the shutdown lets it finish.
                    #expect(Task.isShuttingDownGracefully && client.health.isReady)
                    try await answers.send(AMQPMessage(body: delivery.decodeMessage().bodyString ?? "?"))
                }
                let group = ServiceGroup(services: [client, consumer], logger: Self.quiet)
                let running = Task { try await group.run() }
                try await waitUntil("the link") { peer.senders.count == 1 }
                let jobs = try await (0..<4).asyncMap { try await peer.senders[0].enqueue(AMQPMessage(body: "\($0)")) }
                try await waitUntil("the handlers") { begun.withLock { $0 } == 4 }
                await group.triggerGracefulShutdown()
                try await waitUntil("the return of the credit") { peer.senders[0].credit == 0 }
                goes.withLock { $0 = true }
                try await within("the end") { try await running.value }
                for job in jobs { #expect(try await job.outcome() == .accepted) }
                #expect(peer.ids.sorted() == ["0", "1", "2", "3"])
                #expect(consumer.result.accepted == 4 && consumer.result.unfinished == 0)
                #expect(client.state == .closed(nil))
                #expect(await client.close().isComplete)
            }
        }

        @Test(arguments: [false, true])
        func oneLimitAppliesToAllServices(_ isFrozen: Bool) async throws {
            let limit = Duration.seconds(4)
            let lines = LogLines(level: .info)
            try await ClientPeer.with { peer in
                try await FaultProxy.with(to: peer.port) { proxy in
                    var configuration = AMQPClient.Configuration()
                    configuration.shutdownLimit = limit
                    let client = AMQPClient(
                        urls: [proxy.url],
                        configuration: configuration,
                        logger: lines.logger
                    )
                    let answers = try await client.sender(to: "answers")
                    let begun = Shared(0)
                    // Three consumers have handlers that never return by themselves.
                    let consumers = (0..<3).map { number in
                        AMQPConsumer(client, .init(source: "jobs\(number)")) { _ in
                            begun.withLock { $0 += 1 }
                            try await Task.sleep(for: .seconds(1_000))
                        }
                    }
                    let group = ServiceGroup(services: [client] + consumers, logger: Self.quiet)
                    let running = Task { try await group.run() }
                    try await waitUntil("the links") { peer.senders.count == 3 }
                    for sender in peer.senders { try await sender.enqueue(AMQPMessage(body: "job")) }
                    try await waitUntil("the handlers") { begun.withLock { $0 } == 3 }
                    peer.settle(false)
                    let tracker = try await answers.enqueue(AMQPMessage(body: "answer"))
                    try await waitUntil("the answer") { peer.ids == ["answer"] }
                    if isFrozen { for direction in FaultDirection.allCases { proxy.end(.blackHole, direction) } }
                    let time = try await Self.time {
                        await group.triggerGracefulShutdown()
                        try await within("the end") { try await running.value }
                    }
                    // One limit for each of the four services would add up to 16 s.
                    #expect(time < .seconds(12), "\(time)")
                    #expect(await client.close().inDoubt == 1)
                    #expect(try await failure(of: "the message") { try await tracker.outcome() }.fate == .inDoubt)
                    #expect(consumers.allSatisfy { $0.result.released == 1 && $0.result.inProgress == 0 })
                    #expect(lines.warnings.contains { $0.message == "the client has closed with unfinished work" })
                }
            }
        }

        @Test func aCancellationCancelsTheHandlersOfAStoppingConsumer() async throws {
            try await withClient { client, peer, _ in
                let begun = Shared(false)
                let consumer = AMQPConsumer(client, .init(source: "q")) { _ in
                    begun.withLock { $0 = true }
                    try await Task.sleep(for: .seconds(1_000))
                }
                try await testGracefulShutdown { trigger in
                    let consuming = Task { try await consumer.run() }
                    try await waitUntil("the link") { peer.senders.count == 1 }
                    let tracker = try await peer.senders[0].enqueue(AMQPMessage(body: "m"))
                    try await waitUntil("the handler") { begun.withLock { $0 } }
                    trigger.triggerGracefulShutdown()
                    try await waitUntil("the return of the credit") { peer.senders[0].credit == 0 }
                    let time = try await Self.time {
                        consuming.cancel()
                        try await within("the end") { try await consuming.value }
                    }
                    #expect(time < .seconds(15), "\(time)")
                    #expect(try await tracker.outcome() == .released)
                    // The client continues, because it was not shut down.
                    #expect(client.state == .open(generation: 1))
                }
            }
        }

        @Test func theCloseOfAClientStopsItsConsumersWithinItsLimit() async throws {
            try await withClient { client, peer, _ in
                let begun = Shared(false)
                let consumer = AMQPConsumer(client, .init(source: "q")) { _ in
                    begun.withLock { $0 = true }
                    try await Task.sleep(for: .seconds(1_000))
                }
                let consuming = Task { try await consumer.run() }
                try await waitUntil("the link") { peer.senders.count == 1 }
                let tracker = try await peer.senders[0].enqueue(AMQPMessage(body: "m"))
                try await waitUntil("the handler") { begun.withLock { $0 } }
                let time = try await Self.time {
                    let result = await client.close(within: .seconds(4))
                    try await within("the end") { try await consuming.value }
                    #expect(result.isComplete, "\(result)")
                }
                #expect(time < .seconds(8), "\(time)")
                // The message was returned in order.
                #expect(try await tracker.outcome() == .released)
                #expect(consumer.result.released == 1 && consumer.result.stale == 0)
            }
        }
    }

    /// A value that a test shares with its handlers.
    final class Shared<Value: Sendable>: Sendable {
        private let value: Mutex<Value>
        init(_ value: Value) { self.value = Mutex(value) }
        func withLock<Result>(_ body: (inout sending Value) throws -> sending Result) rethrows -> sending Result {
            try self.value.withLock(body)
        }
    }
#endif
