// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

/// The declarations of a client, with a node of this library as the broker.
@Suite(.timeLimit(.minutes(2)))
struct RabbitMQTopologyTests {
    private typealias Entity = RabbitMQTopology.Entity

    private static let temporary: RabbitMQQueue = {
        var queue = RabbitMQQueue("temporary")
        queue.isExclusive = true
        return queue
    }()
    private static let durable = RabbitMQQueue("durable", kind: .quorum)
    private static let shop = RabbitMQExchange("shop", kind: .topic)
    private static let volatile: RabbitMQExchange = {
        var exchange = RabbitMQExchange("volatile", kind: .fanout)
        exchange.isDurable = false
        return exchange
    }()

    /// Answers as RabbitMQ does, except for requests with a prepared answer.
    private final class Broker: Sendable {
        /// The prepared answers, by path.
        let answers = Mutex<[String: [FakeManagement.Reaction]]>([:])

        func react(_ request: FakeManagement.Request) -> FakeManagement.Reaction {
            let path = request.path ?? ""
            let own = self.answers.withLock { answers -> FakeManagement.Reaction? in
                guard answers[path]?.isEmpty == false else { return nil }
                return answers[path]?.removeFirst()
            }
            if let own { return own }
            guard path.hasPrefix("/queues/") else { return .answer(status: "204", body: .null) }
            if request.method == "DELETE" { return .answer(status: "200", body: ["message_count": .ulong(0)]) }
            return .answer(status: "201", body: FakeManagement.queue(String(path.dropFirst(8))))
        }
    }

    private func withTopology(
        _ topology: RabbitMQTopology = RabbitMQTopology(),
        _ body: (RabbitMQTopology, AMQPClient, FakeManagement, Broker) async throws -> Void
    ) async throws {
        let broker = Broker()
        try await FakeManagement.withURL {
            broker.react($0)
        } _: { fake, url in
            var configuration = AMQPClient.Configuration()
            configuration.recovery.firstDelay = .milliseconds(5)
            configuration.recovery.longestDelay = .milliseconds(50)
            configuration.onConnect = topology.restore
            try await AMQPClient.withClient(url: url, configuration: configuration) { client in
                try await body(topology, client, fake, broker)
            }
        }
    }

    private func declareAll(_ topology: RabbitMQTopology, _ client: AMQPClient) async throws {
        try await topology.withManagement(on: client) { management in
            try await management.declare(Self.durable)
            try await management.declare(Self.temporary)
            try await management.declare(Self.shop)
            try await management.declare(Self.volatile)
            try await management.bind(RabbitMQBinding(exchange: "shop", to: .queue("durable"), key: "a"))
            try await management.bind(RabbitMQBinding(exchange: "shop", to: .queue("temporary"), key: "b"))
            try await management.bind(RabbitMQBinding(exchange: "volatile", to: .queue("durable")))
        }
    }

    /// Ends the connection, and returns the paths of the next connection's requests.
    private func recover(_ client: AMQPClient, _ fake: FakeManagement) async throws -> [String] {
        let count = fake.received.count
        await fake.closeConnections()
        try await waitUntil("the recovery") { client.state == .open(generation: 2) }
        return fake.received.dropFirst(count).map { "\($0.method ?? "") \($0.path ?? "")" }
    }

    // MARK: Repeated declarations

    @Test func transientEntitiesAreDeclaredAgainInOrder() async throws {
        try await self.withTopology { topology, client, fake, _ in
            try await self.declareAll(topology, client)
            let requests = try await self.recover(client, fake)
            #expect(
                requests == ["PUT /exchanges/volatile", "PUT /queues/temporary", "POST /bindings", "POST /bindings"]
            )
            let bound = fake.received.suffix(2).compactMap { request -> String? in
                guard case .value(let body) = request.body else { return nil }
                return body.mapValue?["destination_queue"]?.stringValue
            }
            #expect(Set(bound) == ["temporary", "durable"])
        }
    }

    @Test func everythingIsDeclaredAgainIfConfigured() async throws {
        let topology = RabbitMQTopology(restoring: .all) { $0 != .queue(Self.temporary) }
        try await self.withTopology(topology) { topology, client, fake, _ in
            try await self.declareAll(topology, client)
            let requests = try await self.recover(client, fake)
            #expect(Set(requests.prefix(2)) == ["PUT /exchanges/shop", "PUT /exchanges/volatile"])
            #expect(requests.dropFirst(2).first == "PUT /queues/durable")
            #expect(requests.dropFirst(3) == ["POST /bindings", "POST /bindings", "POST /bindings"])
        }
    }

    @Test func deletionsForgetTheBindings() async throws {
        try await self.withTopology { topology, client, fake, broker in
            try await self.declareAll(topology, client)
            try await topology.withManagement(on: client) { management in
                try await management.deleteQueue("durable")
                #expect(topology.entities.count == 4)
                try await management.unbind(RabbitMQBinding(exchange: "shop", to: .queue("temporary"), key: "b"))
                #expect(topology.entities.count == 3)
                try await management.deleteExchange("shop")
                // A refused deletion deletes nothing.
                broker.answers.withLock {
                    $0["/exchanges/volatile"] = [.answer(status: "403", body: "not yours")]
                }
                _ = try await failure(of: "the deletion") { try await management.deleteExchange("volatile") }
            }
            #expect(topology.entities == [.exchange(Self.volatile), .queue(Self.temporary)])
            #expect(
                try await self.recover(client, fake) == ["PUT /exchanges/volatile", "PUT /queues/temporary"]
            )
        }
    }

    @Test func refusedDeclarationsAreNotRecorded() async throws {
        try await self.withTopology { topology, client, _, broker in
            try await topology.withManagement(on: client) { management in
                try await management.declare(Self.temporary)
                broker.answers.withLock {
                    $0["/queues/temporary"] = [.answer(status: "409", body: "inequivalent arg")]
                    $0["/queues/durable"] = [.answer(status: "400", body: "no")]
                }
                var other = Self.temporary
                other.isAutoDelete = true
                _ = try await failure(of: "the declaration") { [other] in _ = try await management.declare(other) }
                _ = try await failure(of: "the declaration") { _ = try await management.declare(Self.durable) }
            }
            #expect(topology.entities == [.queue(Self.temporary)])
        }
    }

    // MARK: Failures

    @Test func aQueueThatIsStillLockedIsDeclaredUntilItIsFree() async throws {
        try await self.withTopology { topology, client, fake, broker in
            let failures = HookFailures(of: client)
            try await topology.withManagement(on: client) { try await $0.declare(Self.temporary) }
            let words: AMQPValue = "cannot obtain exclusive access to locked queue 'temporary' in vhost '/'."
            broker.answers.withLock {
                $0["/queues/temporary"] = Array(repeating: .answer(status: "400", body: words), count: 3)
            }
            let requests = try await self.recover(client, fake)
            #expect(requests == Array(repeating: "PUT /queues/temporary", count: 4))
            #expect(failures.all.isEmpty)
        }
    }

    @Test func aFailureIsAnEventAndTheConnectionIsRetried() async throws {
        try await self.withTopology { topology, client, fake, broker in
            let failures = HookFailures(of: client)
            try await topology.withManagement(on: client) { try await $0.declare(Self.temporary) }
            broker.answers.withLock {
                $0["/queues/temporary"] = [.answer(status: "409", body: "inequivalent arg")]
            }
            _ = try await self.recover(client, fake)
            try await waitUntil("the event") { !failures.all.isEmpty }
            let error = try #require(failures.all.first?.error)
            let failure = try #require(error.underlying as? RabbitMQTopology.Failure)
            #expect(failure.entity == .queue(Self.temporary) && failure.error.condition == .preconditionFailed)
            #expect(error.detail.contains("queue 'temporary' was not declared"), "\(error)")
        }
    }

    // MARK: Names

    @Test func temporaryQueuesHaveUniqueNames() {
        let (one, other) = (RabbitMQQueue.temporary(), RabbitMQQueue.temporary(prefix: "replies"))
        #expect(one.name != other.name && other.name.hasPrefix("replies-"))
        #expect(one.isExclusive && !one.isDurable && !one.isAutoDelete)
    }
}
