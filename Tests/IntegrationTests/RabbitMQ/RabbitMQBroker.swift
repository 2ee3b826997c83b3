// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

/// All tests against RabbitMQ 4. They run one after another, because a memory alarm stops the senders of all tests.
@Suite(
    .serialized,
    .enabled(if: RabbitMQBroker.configured != nil, "no RabbitMQ is configured: run dev/test --rabbitmq")
)
enum RabbitMQTests {}

/// The broker that `dev/test --rabbitmq` has started with `dev/rabbitmq`.
struct RabbitMQBroker: Sendable {
    let port: Int
    var version = 4

    /// The broker whose port is in `QPID_PROTON_TEST_RABBITMQ`; `nil` if none is configured.
    static let configured = ProcessInfo.processInfo.environment["QPID_PROTON_TEST_RABBITMQ"].flatMap(Int.init)
        .map { RabbitMQBroker(port: $0) }

    static func required() throws -> RabbitMQBroker {
        guard let configured else { throw MissingProgram(description: "no RabbitMQ: run dev/test --rabbitmq") }
        return configured
    }

    var url: String { "amqp://guest:guest@127.0.0.1:\(self.port)" }
    var tlsURL: String { "amqps://localhost:\(self.port - 1)" }

    static func certificate(_ name: String) -> String { Repository.path(".build-rabbitmq/certs/\(name)") }

    /// Runs rabbitmqctl, and returns what it printed.
    @discardableResult
    func control(_ arguments: String...) async throws -> String {
        try await self.run(["ctl"] + arguments)
    }

    /// Starts or stops the broker with `dev/rabbitmq`.
    func run(_ action: String...) async throws { try await self.run(action) }

    @discardableResult
    func run(_ arguments: [String]) async throws -> String {
        let program = Repository.path("dev/rabbitmq")
        let process = try ChildProcess(program, ["--version", "\(self.version)", "--port", "\(self.port)"] + arguments)
        try await process.waitForSuccess(within: .seconds(120))
        return process.output
    }
}

/// A connection with a session and the management, and the queues that a test has declared.
struct RabbitMQScene: Sendable {
    let broker: RabbitMQBroker
    let connection: AMQPConnection
    let session: AMQPSession
    let management: RabbitMQManagement
    fileprivate let made = Made()

    fileprivate final class Made: Sendable {
        let queues = Mutex<[String]>([])
        let exchanges = Mutex<[String]>([])
    }

    /// Runs `body`, and deletes everything that it has declared.
    static func with(
        configuration: AMQPConnection.Configuration = .init(),
        limit: Duration = .seconds(120),
        _ body: @escaping @Sendable (RabbitMQScene) async throws -> Void
    ) async throws {
        let broker = try RabbitMQBroker.required()
        try await within("the test", limit: limit) {
            try await AMQPConnection.withConnection(to: broker.url, configuration: configuration) { connection in
                let session = try await connection.openSession()
                let management = try await RabbitMQManagement.open(on: connection)
                let scene = RabbitMQScene(
                    broker: broker,
                    connection: connection,
                    session: session,
                    management: management
                )
                do {
                    try await body(scene)
                } catch {
                    try? await scene.cleanUp()
                    throw error
                }
                try await scene.cleanUp()
            }
        }
    }

    private func cleanUp() async throws {
        let queues = self.made.queues.withLock { $0 }
        let exchanges = self.made.exchanges.withLock { $0 }
        guard !queues.isEmpty || !exchanges.isEmpty else { return }
        // The test may have ended the connection.
        try await AMQPConnection.withConnection(to: self.broker.url) { connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                for name in queues { try await management.deleteQueue(name) }
                for name in exchanges { try await management.deleteExchange(name) }
            }
        }
    }

    /// Declares a queue with a unique name, and returns the name.
    func declare(
        _ kind: RabbitMQQueue.Kind = .classic,
        named suffix: String = "",
        _ change: (inout RabbitMQQueue) -> Void = { _ in }
    ) async throws -> String {
        var queue = RabbitMQQueue("test-\(UUID().uuidString)\(suffix)", kind: kind)
        change(&queue)
        self.made.queues.withLock { $0.append(queue.name) }
        try await self.management.declare(queue)
        return queue.name
    }

    /// Declares an exchange with a unique name, and returns the name.
    func declareExchange(_ kind: RabbitMQExchange.Kind, named suffix: String = "") async throws -> String {
        let exchange = RabbitMQExchange("test-\(UUID().uuidString)\(suffix)", kind: kind)
        self.made.exchanges.withLock { $0.append(exchange.name) }
        try await self.management.declare(exchange)
        return exchange.name
    }

    func openSender(to queue: String) async throws -> AMQPSender {
        try await self.session.openSender(to: RabbitMQAddress.queue(queue))
    }

    func openReceiver(from queue: String, window: AMQPReceiver.Window = .automatic) async throws -> AMQPReceiver {
        try await self.session.openReceiver(from: RabbitMQAddress.queue(queue), window: window)
    }

    /// Sends messages to a queue, and waits until all are accepted.
    func fill(_ queue: String, _ messages: [AMQPMessage]) async throws {
        let sender = try await self.openSender(to: queue)
        let outcomes = await sender.send(contentsOf: messages)
        #expect(outcomes.allSatisfy { $0 == .success(.accepted) })
        try await sender.close().check()
    }

    /// Sends the numbers of a range to a queue.
    func fill(_ queue: String, numbers: Range<Int>) async throws {
        try await self.fill(queue, numbers.map { AMQPMessage(body: "\($0)") })
    }

    func expectEmpty(_ queue: String) async throws {
        try await waitUntil("'\(queue)' is empty") { try await self.management.queue(queue).messageCount == 0 }
    }
}

extension AMQPReceiver {
    /// Returns the next message, which must arrive.
    func take() async throws -> AMQPDelivery {
        guard let delivery = try await self.next() else { throw NoFailure(what: "a link that was closed") }
        return delivery
    }

    /// Accepts messages that must arrive, and returns their bodies.
    func takeBodies(_ count: Int) async throws -> [String] {
        var bodies: [String] = []
        while bodies.count < count {
            let delivery = try await self.take()
            bodies.append(try delivery.decodeMessage().bodyString ?? "")
            delivery.accept()
        }
        return bodies
    }
}
