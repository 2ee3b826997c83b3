// SPDX-License-Identifier: Apache-2.0

public import QpidProton
internal import Synchronization

/// The exchanges, queues and bindings of a client, which the client declares again on each new connection.
///
/// Set ``restore(_:_:)`` in the client's configuration, and declare with ``withManagement(on:timeout:_:)``:
///
/// ```swift
/// let topology = RabbitMQTopology()
/// configuration.onConnect = topology.restore
/// let client = AMQPClient(url: url, configuration: configuration)
/// let queue = RabbitMQQueue.temporary()
/// try await topology.withManagement(on: client) { management in
///     try await management.declare(queue)
///     try await management.bind(RabbitMQBinding(exchange: "events", to: .queue(queue.name), key: "order.#"))
/// }
/// let orders = try await client.receiver(from: RabbitMQAddress.queue(queue.name))
/// ```
///
/// | Declaration | Declared again by default |
/// |---|---|
/// | queue | if it is exclusive, if it is deleted with its last consumer, or if it is not durable |
/// | exchange | if it is deleted with its last binding, or is not durable |
/// | binding | if its exchange or its destination is declared again |
///
/// The topology declares exchanges first, then queues, then bindings. Afterwards the client attaches its links, which
/// find their queues because names do not change. A deletion removes the entity and its bindings from the topology.
///
/// If a queue is deleted with its last consumer, call `deleteQueue` when you close its receiver. Otherwise the topology
/// declares the queue again after a loss, and no one receives its messages.
public final class RabbitMQTopology: Sendable {
    /// A declaration.
    public enum Entity: Hashable, Sendable {
        /// An exchange.
        case exchange(RabbitMQExchange)
        /// A queue.
        case queue(RabbitMQQueue)
        /// A binding.
        case binding(RabbitMQBinding)
    }

    /// The declarations to repeat.
    public enum Scope: Hashable, Sendable {
        /// The declarations that may vanish with a connection or a restart of the broker; the default.
        case vanishing
        /// All declarations.
        case all
    }

    /// A declaration that the broker did not accept again: the `underlying` error of
    /// `AMQPClient.Event.onConnectFailed`.
    ///
    /// The client reconnects and repeats the declaration, because the broker has accepted it before.
    public struct Failure: Error, CustomStringConvertible {
        /// The declaration.
        public let entity: Entity
        /// The cause.
        public let error: AMQPError

        /// The declaration and the cause in words.
        public var description: String { "\(self.entity) was not declared: \(self.error)" }
    }

    /// The maximum number of requests that wait for the broker at the same time.
    private static let concurrency = 32
    /// How long the lost connection may lock an exclusive queue before the attempt fails.
    private static let lockLimit = Duration.seconds(10)

    private let scope: Scope
    private let isWanted: @Sendable (Entity) -> Bool
    private let record = Mutex(TopologyRecord())

    /// Creates a topology without declarations.
    ///
    /// - Parameters:
    ///   - scope: The declarations to repeat.
    ///   - isWanted: Returns whether to repeat a declaration of the scope; by default all are repeated.
    public init(
        restoring scope: Scope = .vanishing,
        where isWanted: @escaping @Sendable (Entity) -> Bool = { _ in true }
    ) {
        self.scope = scope
        self.isWanted = isWanted
    }

    /// The recorded declarations, at most 10,000: exchanges, then queues, then bindings. A further declaration throws
    /// `resourceLimitExceeded`.
    public var entities: [Entity] { self.record.withLock { $0.entities } }

    // MARK: Declaring

    /// Runs `body` with the management node of a client's connection, and records its declarations, bindings and
    /// deletions.
    ///
    /// Suspends until the client is connected. Otherwise the call is the same as
    /// ``RabbitMQManagement/withManagement(on:timeout:_:)``.
    ///
    /// - Parameters:
    ///   - client: The client, whose `onConnect` is ``restore(_:_:)``.
    ///   - timeout: The time limit of each call.
    ///   - body: The closure that uses the management.
    /// - Throws: The error of `body`, of `RabbitMQManagement.open`, or of the client. The topology does not record a
    ///   failed call.
    @discardableResult
    public func withManagement<Result>(
        on client: AMQPClient,
        timeout: Duration = .seconds(30),
        _ body: (RabbitMQManagement) async throws -> Result
    ) async throws -> Result {
        var connection: AMQPConnection?
        while connection == nil {
            try await client.connect()
            connection = client.connection
            // A connection that is already lost again is `nil`.
            await Task.yield()
        }
        guard let connection else { throw CancellationError() }
        return try await RabbitMQManagement.withManagement(on: connection, timeout: timeout, recording: self, body)
    }

    /// Changes the record.
    func change<Value: Sendable, Failure: Error>(
        _ body: (inout TopologyRecord) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try self.record.withLock { (record) throws(Failure) in try body(&record) }
    }

    // MARK: Restoring

    /// Repeats the recorded declarations on a new connection. Set it as `AMQPClient.Configuration.onConnect`.
    ///
    /// Suspends until the broker has answered every request. If the lost connection still locks an exclusive queue, the
    /// topology retries its declaration for up to 10 s.
    ///
    /// - Parameters:
    ///   - connection: The new connection.
    ///   - generation: The number of the connection.
    /// - Throws: ``Failure`` with the first declaration that failed.
    public func restore(_ connection: AMQPConnection, _ generation: Int) async throws {
        let stages = self.record.withLock { $0.stages(self.scope, self.isWanted) }
        guard !stages.isEmpty else { return }
        try await RabbitMQManagement.withManagement(on: connection) { management in
            for stage in stages {
                var rest = stage[...]
                while !rest.isEmpty {
                    try await Self.declare(rest.prefix(Self.concurrency), management)
                    rest = rest.dropFirst(Self.concurrency)
                }
            }
        }
    }

    private static func declare(_ entities: ArraySlice<Entity>, _ management: RabbitMQManagement) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for entity in entities { group.addTask { try await self.declare(entity, management) } }
            try await group.waitForAll()
        }
    }

    private static func declare(_ entity: Entity, _ management: RabbitMQManagement) async throws {
        let deadline = ContinuousClock.now + self.lockLimit
        var delay = Duration.milliseconds(50)
        while true {
            do throws(AMQPError) {
                return try await management.declare(entity)
            } catch {
                guard error.condition == .resourceLocked, .now + delay < deadline else {
                    throw Failure(entity: entity, error: error)
                }
            }
            try await Task.sleep(for: delay)
            delay = min(delay * 2, .seconds(1))
        }
    }
}

extension RabbitMQTopology.Entity: CustomStringConvertible {
    /// The kind and the names of the entity.
    public var description: String {
        switch self {
        case .exchange(let exchange): "exchange '\(exchange.name)'"
        case .queue(let queue): "queue '\(queue.name)'"
        case .binding(let binding): "binding of \(binding.destination) to exchange '\(binding.exchange)'"
        }
    }
}

extension RabbitMQManagement {
    fileprivate func declare(_ entity: RabbitMQTopology.Entity) async throws(AMQPError) {
        switch entity {
        case .exchange(let exchange): try await self.declare(exchange)
        case .queue(let queue): try await self.declare(queue)
        case .binding(let binding): try await self.bind(binding)
        }
    }
}
