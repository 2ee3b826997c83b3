// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport
import Testing

/// All tests against RabbitMQ 3.10. They run one after another, because a memory alarm stops the senders of all tests.
///
/// Its plugin for AMQP 1.0 translates to AMQP 0-9-1 for the queues. It supports neither all addresses nor all of AMQP
/// 1.0.
@Suite(
    .serialized,
    .enabled(if: RabbitMQ3Scene.broker != nil, "no RabbitMQ 3 is configured: run dev/test --rabbitmq 3")
)
enum RabbitMQ3Tests {}

/// A connection, and a queue with a unique name, which a link's attach declares.
struct RabbitMQ3Scene: Sendable {
    /// The broker whose port is in `QPID_PROTON_TEST_RABBITMQ3`; `nil` if none is configured.
    static let broker = ProcessInfo.processInfo.environment["QPID_PROTON_TEST_RABBITMQ3"].flatMap(Int.init)
        .map { RabbitMQBroker(port: $0, version: 3) }

    let broker: RabbitMQBroker
    let connection: AMQPConnection
    let queue = "test-\(UUID().uuidString)"
    /// The address whose attach declares the queue if it is missing.
    var address: String { "/queue/\(self.queue)" }
    private let others = Others()

    private final class Others: Sendable {
        let names = Mutex<[String]>([])
    }

    /// Runs `body`, and deletes the queues.
    static func with(
        limit: Duration = .seconds(120),
        _ body: @escaping @Sendable (RabbitMQ3Scene) async throws -> Void
    ) async throws {
        let broker = try self.requiredBroker()
        try await within("the test", limit: limit) {
            var configuration = AMQPConnection.Configuration()
            configuration.operationTimeout = .seconds(5)
            let connection = try await AMQPConnection.connect(to: broker.url, configuration: configuration)
            let scene = RabbitMQ3Scene(broker: broker, connection: connection)
            do {
                try await body(scene)
            } catch {
                try? await scene.cleanUp()
                throw error
            }
            try await scene.cleanUp()
        }
    }

    static func requiredBroker() throws -> RabbitMQBroker {
        guard let broker else { throw MissingProgram(description: "no RabbitMQ 3: run dev/test --rabbitmq 3") }
        return broker
    }

    private func cleanUp() async throws {
        await self.connection.close()
        let names = self.others.names.withLock { $0 } + [self.queue]
        let terms = names.map { "<<\"\($0)\">>" }.joined(separator: ",")
        try await self.broker.control(
            "eval",
            """
            [case rabbit_amqqueue:lookup({resource,<<"/">>,queue,N}) of
             {ok,Q} -> rabbit_amqqueue:delete(Q,false,false,<<"test">>); _ -> none end || N <- [\(terms)]].
            """
        )
    }

    /// Declares a queue with Erlang arguments, which no address can request. Returns the name.
    func declare(_ arguments: String) async throws -> String {
        let name = "test-\(UUID().uuidString)"
        self.others.names.withLock { $0.append(name) }
        let declared = try await self.broker.control(
            "eval",
            """
            rabbit_amqqueue:declare({resource,<<"/">>,queue,<<"\(name)">>},true,false,[\(arguments)],none,<<"test">>).
            """
        )
        guard declared.hasPrefix("{new") else { throw MissingProgram(description: "no queue: \(declared)") }
        return name
    }

    /// Opens a sender on a session of its own, because the broker sometimes ends a session that attaches a second link.
    func openSender(
        to address: String? = nil,
        _ change: (inout AMQPSender.Configuration) -> Void = { _ in }
    ) async throws -> AMQPSender {
        var configuration = AMQPSender.Configuration(target: .init(address: address ?? self.address))
        change(&configuration)
        return try await self.connection.openSession().openSender(configuration)
    }

    /// Opens a receiver on a session of its own.
    func openReceiver(
        from address: String? = nil,
        window: AMQPReceiver.Window = .automatic,
        _ change: (inout AMQPReceiver.Configuration) -> Void = { _ in }
    ) async throws -> AMQPReceiver {
        var configuration = AMQPReceiver.Configuration(source: .init(address: address ?? self.address), window: window)
        change(&configuration)
        return try await self.connection.openSession().openReceiver(configuration)
    }

    /// Sends numbers to a queue, and waits until all are accepted.
    func fill(_ numbers: Range<Int>, to address: String? = nil) async throws {
        let sender = try await self.openSender(to: address)
        let outcomes = await sender.send(contentsOf: numbers.map { AMQPMessage(body: "\($0)") })
        #expect(outcomes.allSatisfy { $0 == .success(.accepted) })
        try await sender.close().check()
    }

    /// Returns the fields that rabbitmqctl prints for a queue; `nil` if there is no such queue.
    func info(_ fields: String..., of queue: String? = nil) async throws -> [String]? {
        let name = queue ?? self.queue
        let table = try await self.broker.run(["ctl", "list_queues", "--no-table-headers", "-q", "name"] + fields)
        let rows = table.split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
        return rows.first { $0.first == name }.map { Array($0.dropFirst()) }
    }

    /// Expects that the queue is empty, and that no consumer holds a message of it.
    func expectEmpty(_ queue: String? = nil) async throws {
        try await waitUntil("the queue is empty") { try await self.info("messages", of: queue) == ["0"] }
    }
}
