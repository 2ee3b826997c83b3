// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Handles the messages of a node, several at a time, and settles each.
///
/// | Handler | Message |
/// |---|---|
/// | returns | accepted |
/// | throws, or runs for longer than ``Configuration/timeout`` | returned to its source as failed |
/// | fails the last of the ``Configuration/attempts`` | rejected, with the error as the reason |
/// | decides itself: see ``Delivery`` | settled by that decision |
/// | has not returned when the consumer stops | released |
/// | continues after the link is lost | sent again by the peer; the decision is ``AMQPSettlement/stale`` |
///
/// The consumer handles a failed message again in place if it has a key (see ``Order``), is from a RabbitMQ stream, or
/// was sent settled. Other messages continue meanwhile.
///
/// The consumer outlives its connections, as ``AMQPClient/Receiver`` does. From a stream it continues after the last
/// received message.
public final class AMQPConsumer: Sendable {
    private enum Life: Sendable {
        case new, running, stopped
    }

    /// The settings of the consumer.
    public let configuration: Configuration
    private let client: AMQPClient
    private let runner: ConsumerRunner
    private let life = Mutex(Life.new)
    private let ended = Reply<Void>()

    /// Creates a consumer. It receives nothing before ``run()``.
    ///
    /// - Parameters:
    ///   - client: The client whose connection it uses.
    ///   - configuration: The settings.
    ///   - handler: Handles one message. The consumer cancels its task at the timeout, and shortly before the limit of
    ///     a stop.
    public init(
        _ client: AMQPClient,
        _ configuration: Configuration,
        handler: @escaping @Sendable (Delivery) async throws -> Void
    ) {
        self.client = client
        self.configuration = configuration
        let supervisor = client.supervisor
        let meter = supervisor.log.metrics.map { ConsumerMeter($0, configuration.receiver.source) }
        self.runner = ConsumerRunner(configuration, supervisor.clock, supervisor.log.logger, meter, handler)
    }

    /// The counts so far.
    public var result: AMQPConsumerResult { self.runner.result }

    /// Opens the receiver, and handles messages until the consumer stops.
    ///
    /// Returns after ``stop(within:)`` and after the close of the client; ``result`` then has the final counts. In a
    /// service group, put the consumer behind its client. A graceful shutdown of the group stops the consumer as
    /// ``stop(within:)`` does. The consumer and its client share the ``AMQPClient/Configuration/shutdownLimit``.
    ///
    /// Cancellation stops the consumer within ``Configuration/stopLimit``, or at once if it is already stopping.
    ///
    /// - Throws: `AMQPError` if the settings are wrong, the peer refuses the link, or an error ends it for good. By
    ///   then the handlers have finished, or the limit has passed: see ``result``. A second call throws
    ///   ``AMQPCondition/invalidArgument``.
    public func run() async throws(AMQPError) {
        try self.configuration.validate()
        let former = self.life.withLock { life in
            defer { if life == .new { life = .running } }
            return life
        }
        switch former {
        case .running: throw .client(.invalidArgument, "the consumer is running or has run: create another one")
        case .stopped: return
        case .new: break
        }
        let shutdown = self.client.supervisor.shutdown
        shutdown.add(self.runner)
        let error = await self.runUntilStopped()
        shutdown.remove(self.runner)
        self.ended.resolve(.success(()))
        if let error { throw error }
    }

    private func runUntilStopped() async -> AMQPError? {
        let running = Task { await self.runner.run(self.client) }
        // `try?` discards nothing: the closure returns its error as a value.
        return try? await withShutdownHandler { () async throws(AMQPError) in
            await withTaskCancellationHandler {
                await running.value
            } onCancel: {
                self.runner.stop(within: self.runner.isOpen ? self.configuration.stopLimit : .zero)
            }
        } onShutdown: {
            self.runner.stop(within: self.client.supervisor.shutdown.beginForConsumer())
        }
    }

    /// Stops the consumer within a limit, and returns its counts.
    ///
    /// First the consumer returns the credit, and messages without a handler. Then the handlers finish. Shortly before
    /// the limit the consumer cancels their tasks. It releases the messages of handlers that then throw or do not
    /// return. After it has written all decisions, it closes the link.
    ///
    /// Any task may call it, more than once: the shortest limit applies. Cancellation ends the remaining time.
    ///
    /// - Parameter limit: How long the whole stop may take: 30 s by default.
    @discardableResult
    public func stop(within limit: Duration = .seconds(30)) async -> AMQPConsumerResult {
        let former = self.life.withLock { life in
            defer { if life == .new { life = .stopped } }
            return life
        }
        guard former == .running else { return self.result }
        self.runner.stop(within: limit)
        await withTaskCancellationHandler {
            _ = await self.ended.finalAnswer()
        } onCancel: {
            self.runner.stop(within: .zero)
        }
        return self.result
    }
}

extension AMQPClient {
    /// Handles the messages of a node, several at a time, until the task is cancelled.
    ///
    /// When the handler returns, the consumer accepts the message. When it throws, the message returns as failed; after
    /// the last attempt the consumer rejects it. For a consumer that can also be stopped, see ``AMQPConsumer``.
    ///
    /// Cancellation stops the consumer within ``AMQPConsumer/Configuration/stopLimit``, and the call returns the
    /// counts.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - concurrency: The most handlers that run at the same time.
    ///   - attempts: How many attempts a message has before the consumer rejects it; `nil` for no limit.
    ///   - handler: Handles one message.
    /// - Returns: The counts of the outcomes.
    /// - Throws: `AMQPError` if the peer refuses the link, or an error ends it for good.
    @discardableResult
    public func consume(
        from address: String,
        concurrency: Int = 16,
        attempts: Int? = 3,
        _ handler: @escaping @Sendable (AMQPConsumer.Delivery) async throws -> Void
    ) async throws(AMQPError) -> AMQPConsumerResult {
        var configuration = AMQPConsumer.Configuration(source: address)
        configuration.concurrency = concurrency
        configuration.attempts = attempts
        return try await self.consume(configuration, handler)
    }

    /// Handles the messages of a node until the task is cancelled; see ``consume(from:concurrency:attempts:_:)``.
    ///
    /// - Parameters:
    ///   - configuration: The settings.
    ///   - handler: Handles one message.
    @discardableResult
    public func consume(
        _ configuration: AMQPConsumer.Configuration,
        _ handler: @escaping @Sendable (AMQPConsumer.Delivery) async throws -> Void
    ) async throws(AMQPError) -> AMQPConsumerResult {
        let consumer = AMQPConsumer(self, configuration, handler: handler)
        try await consumer.run()
        return consumer.result
    }
}
