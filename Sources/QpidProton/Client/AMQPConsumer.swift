// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Handles the messages of a node: several at a time, each to its end.
///
/// | What happens to a handler | What becomes of the message |
/// |---|---|
/// | it returns | accepted |
/// | it throws, or runs for longer than ``Configuration/timeout`` | back to its source as failed |
/// | the same, at the last of the ``Configuration/attempts`` | rejected, with the error as the reason |
/// | it decides itself: see ``Delivery`` | what it decided |
/// | the consumer stops before it is done | released |
/// | the link is lost meanwhile | the handler goes on; its decision is ``AMQPSettlement/stale``, and the message comes again |
///
/// A failed message is handled again in place if it has a key (see ``Order``), comes from a RabbitMQ stream, or was sent
/// settled. Other messages go on meanwhile.
///
/// The consumer outlives its connections, as ``AMQPClient/Receiver`` does. From a stream it goes on after the last
/// message that it took.
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
    ///   - handler: Handles one message. Its task is cancelled at the timeout, and when the time of a stop is nearly over.
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

    /// The numbers so far.
    public var result: AMQPConsumerResult { self.runner.result }

    /// Opens the receiver, and handles messages until the consumer is stopped.
    ///
    /// Returns after ``stop(within:)`` and after the close of the client; ``result`` then has the numbers. In a service
    /// group, put the consumer behind its client. A graceful shutdown of the group stops it as ``stop(within:)`` does,
    /// within the ``AMQPClient/Configuration/shutdownLimit`` that it shares with its client.
    ///
    /// Cancellation stops the consumer within ``Configuration/stopLimit``, or at once if it stops already.
    ///
    /// - Throws: `AMQPError` if the settings are wrong, the peer refuses the link, or an error ends it for good. The
    ///   handlers have then finished, or the limit was over: see ``result``. A second call throws
    ///   ``AMQPCondition/invalidArgument``.
    public func run() async throws(AMQPError) {
        try self.configuration.validate()
        let former = self.life.withLock { life in
            defer { if life == .new { life = .running } }
            return life
        }
        switch former {
        case .running: throw .client(.invalidArgument, "the consumer runs already, or has run: make another one")
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
        // It throws nothing: the error is a value.
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

    /// Stops the consumer within a limit, and returns the numbers.
    ///
    /// First the credit goes back to the peer, and so do messages that no handler has. Then the handlers finish. Shortly
    /// before the end of the limit their tasks are cancelled, and the messages of those that throw then, or do not return, are
    /// released. When all decisions are written, the link is closed.
    ///
    /// Any task may call it, more than once: the shortest limit counts. Cancellation ends the remaining time.
    ///
    /// - Parameter limit: How long all of it may take: 30 s by default.
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
    /// Handles the messages of a node until the task is cancelled: several at a time, each to its end.
    ///
    /// A return of the handler accepts the message. An error gives it back as failed, and rejects it at the last attempt:
    /// see ``AMQPConsumer``, which can also be stopped.
    ///
    /// Cancellation stops the consumer within ``AMQPConsumer/Configuration/stopLimit``, and the call returns the numbers.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - concurrency: The most handlers that run at the same time.
    ///   - attempts: How many times a message is handled until it is rejected; `nil` for no limit.
    ///   - handler: Handles one message.
    /// - Returns: What became of the messages, in numbers.
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
