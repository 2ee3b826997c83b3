// SPDX-License-Identifier: Apache-2.0

import TestSupport

#if ServiceLifecycle
    import QpidProton
    import ServiceLifecycleTestKit
    import Synchronization
    import Testing

    /// A listener as a service.
    @Suite(.timeLimit(.minutes(3)))
    struct ListenerServiceTests {
        /// Passes the messages of every link to a handler, until the link ends.
        private static func serve(
            _ connection: AMQPConnection,
            _ handle: @escaping @Sendable (AMQPDelivery) async -> Void
        ) async {
            await withDiscardingTaskGroup { group in
                while let request = (try? await connection.incoming.next()) ?? nil {
                    switch request {
                    case .session(let session): _ = try? await session.accept()
                    case .receiver(let link):
                        group.addTask {
                            guard let receiver = try? await link.accept() else { return }
                            while let delivery = (try? await receiver.next()) ?? nil { await handle(delivery) }
                        }
                    case .sender(let link): link.refuse(AMQPError(condition: .notAllowed))
                    }
                }
            }
        }

        @Test func aShutdownStopsAcceptingAndLetsHandlersFinish() async throws {
            let listener = try await AMQPListener.bind(port: 0)
            let url = "amqp://127.0.0.1:\(listener.port)"
            let begun = Shared(false)
            let goes = Shared(false)
            let done = Shared(0)
            try await testGracefulShutdown { trigger in
                let running = Task {
                    await listener.run { connection in
                        await Self.serve(connection) { delivery in
                            begun.withLock { $0 = true }
                            try? await waitUntil("the test") { goes.withLock { $0 } }
                            delivery.accept()
                        }
                        done.withLock { $0 += 1 }
                    }
                }
                let connection = try await AMQPConnection.connect(to: url)
                let sender = try await connection.openSession().openSender(to: "q")
                let tracker = try await sender.enqueue(AMQPMessage(body: "m"))
                try await waitUntil("the handler") { begun.withLock { $0 } }
                trigger.triggerGracefulShutdown()
                try await waitUntil("the end of the socket") {
                    await (try? AMQPConnection.connect(to: url).close()) == nil
                }
                #expect(done.withLock { $0 } == 0 && connection.error == nil)
                goes.withLock { $0 = true }
                try await within("the end") { await running.value }
                #expect(try await tracker.outcome() == .accepted)
                #expect(done.withLock { $0 } == 1)
                await connection.close()
            }
        }

        @Test(arguments: [false, true])
        func theLimitEndsASilentPeerAndAHangingHandler(_ isCancelled: Bool) async throws {
            var configuration = AMQPListener.Configuration()
            configuration.shutdownLimit = isCancelled ? .seconds(1_000) : .seconds(1)
            let listener = try await AMQPListener.bind(port: 0, configuration: configuration)
            let taken = Shared(false)
            try await FaultProxy.with(to: listener.port) { proxy in
                try await testGracefulShutdown { trigger in
                    let running = Task {
                        await listener.run { connection in
                            taken.withLock { $0 = true }
                            try? await Task.sleep(for: .seconds(1_000))
                            await connection.close()
                        }
                    }
                    let connection = try await AMQPConnection.connect(to: proxy.url)
                    try await waitUntil("the handler") { taken.withLock { $0 } }
                    for direction in FaultDirection.allCases { proxy.end(.blackHole, direction) }
                    let start = ContinuousClock.now
                    trigger.triggerGracefulShutdown()
                    if isCancelled { running.cancel() }
                    try await within("the end") { await running.value }
                    let time = ContinuousClock.now - start
                    #expect(time < .seconds(15), "\(time)")
                    await connection.close(within: .zero)
                }
            }
        }

        @Test func aListenerWithoutAHandlerClosesAcceptedConnections() async throws {
            let listener = try await AMQPListener.bind(port: 0)
            try await testGracefulShutdown { trigger in
                let running = Task { await listener.run() }
                let serving = Task {
                    while let connection = try? await listener.next() { await Self.serve(connection) { $0.accept() } }
                }
                let connection = try await AMQPConnection.connect(to: "amqp://127.0.0.1:\(listener.port)")
                let sender = try await connection.openSession().openSender(to: "q")
                #expect(try await sender.send(AMQPMessage(body: "m")) == .accepted)
                trigger.triggerGracefulShutdown()
                try await within("the end") { await running.value }
                try await within("the end of the connection") { try? await connection.waitUntilClosed() }
                try await within("the end of the loop") { await serving.value }
            }
        }

        @Test func theCloseOfAListenerFinishesItsConnections() async throws {
            let listener = try await AMQPListener.bind(port: 0)
            let taken = Shared(false)
            let serving = Task {
                while let connection = try? await listener.next() {
                    await Self.serve(connection) { _ in taken.withLock { $0 = true } }
                }
            }
            let connection = try await AMQPConnection.connect(to: "amqp://127.0.0.1:\(listener.port)")
            let sender = try await connection.openSession().openSender(to: "q")
            let tracker = try await sender.enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the handler") { taken.withLock { $0 } }
            let result = await listener.close(within: .milliseconds(500))
            // The handler has not settled the message.
            #expect(result.deliveriesNotSettled <= 1)
            try await within("the end of the connection") { try? await connection.waitUntilClosed() }
            #expect(try await failure(of: "the message") { try await tracker.outcome() }.fate == .inDoubt)
            await serving.value
        }

        @Test func aShutdownLimitOfZeroIsRefused() async throws {
            var configuration = AMQPListener.Configuration()
            configuration.shutdownLimit = .zero
            let refused = configuration
            let error = try await failure(of: "binding") {
                try await AMQPListener.bind(port: 0, configuration: refused)
            }
            #expect(error.condition == .invalidArgument && error.detail.contains("shutdownLimit"))
        }
    }
#endif
