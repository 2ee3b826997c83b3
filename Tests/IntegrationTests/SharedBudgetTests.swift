// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import Synchronization
import TestSupport
import Testing

/// Many connections that read at the same time stay within their shared budget.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct SharedBudgetTests {
    private static let clients = 24
    private static let small = 50
    private static let large = 20

    /// Holds large messages in the application until the gate opens.
    private final class Gate: Sendable {
        private let isOpen = Atomic(false)
        /// The connections whose small messages have been accepted.
        private let primed = Atomic(0)

        func prime() async throws {
            self.primed.add(1, ordering: .relaxed)
            try await waitUntil("the others") { self.primed.load(ordering: .relaxed) == SharedBudgetTests.clients }
        }

        func open() { self.isOpen.store(true, ordering: .relaxed) }

        func pass(_ delivery: AMQPDelivery) async throws {
            guard delivery.payload.readableBytes > 1_000 else { return }
            try await waitUntil("the gate") { self.isOpen.load(ordering: .relaxed) }
        }
    }

    private static func serve(_ listener: AMQPListener, _ gate: Gate) async {
        await withDiscardingTaskGroup { group in
            let connections = listener.makeAsyncIterator()
            while let connection = try? await connections.next(isolation: nil) {
                group.addTask { await Self.serve(connection, gate) }
            }
            group.cancelAll()
        }
    }

    private static func serve(_ connection: AMQPConnection, _ gate: Gate) async {
        let wishes = connection.incoming.makeAsyncIterator()
        while let wish = try? await wishes.next(isolation: nil) {
            switch wish {
            case .session(let session): _ = try? await session.accept()
            case .sender(let sender):
                sender.refuse(AMQPError(scope: .link, condition: .notFound, detail: "there is nothing to receive"))
            case .receiver(let incoming):
                guard let receiver = try? await incoming.accept(.init(window: .messages(1_000))) else { return }
                while let delivery = try? await receiver.next(), (try? await gate.pass(delivery)) != nil {
                    delivery.accept()
                }
            }
        }
        await connection.close()
    }

    /// Credit and windows were granted for small messages, but large ones arrive on all connections at once.
    @Test(arguments: [false, true]) func readsAtTheSameTimeStayWithinTheBudget(isTLS: Bool) async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        let files = try TestCertificates.files()
        var listening = AMQPListener.Configuration()
        listening.connection.receiveBudget = budget
        var connecting = AMQPConnection.Configuration()
        if isTLS {
            listening.tls = AMQPServerTLS(identity: files.server)
            connecting.tls.trustRoots = files.authority
        }
        let listener = try await AMQPListener.bind(port: 0, configuration: listening)
        let url = isTLS ? "amqps://localhost:\(listener.port)" : "amqp://127.0.0.1:\(listener.port)"
        let gate = Gate()
        let service = Task { await Self.serve(listener, gate) }
        let (small, large) = (AMQPMessage(body: "small"), AMQPMessage(body: ByteBuffer(repeating: 7, count: 16_000)))
        try await within("all outcomes", limit: .seconds(120)) { [connecting] in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<Self.clients {
                    group.addTask {
                        try await AMQPConnection.withConnection(to: url, configuration: connecting) { connection in
                            let sender = try await connection.openSession().openSender(to: "there")
                            let first = await sender.send(contentsOf: Array(repeating: small, count: Self.small))
                            #expect(first.allSatisfy { $0 == .success(.accepted) })
                            try await gate.prime()
                            let second = await sender.send(contentsOf: Array(repeating: large, count: Self.large))
                            #expect(second.allSatisfy { $0 == .success(.accepted) })
                        }
                    }
                }
                // If reads follow one another, credit keeps all of them below the low mark.
                var (used, since) = (0, ContinuousClock.now)
                try await waitUntil(
                    "the budget is full or at rest, of which \(used) bytes are used",
                    within: .seconds(100)
                ) {
                    if budget.used.bytes != used || used == 0 { (used, since) = (budget.used.bytes, .now) }
                    return used > budget.low.bytes || since.duration(to: .now) > .seconds(3)
                }
                gate.open()
                try await group.waitForAll()
            }
        }
        // A few connections complete a frame after the room is used up. Half of the budget above the low mark is
        // reserved for them. With TLS, each may add the rest of a record.
        let above = isTLS ? Self.clients * 16_896 - (budget.limit.bytes - budget.low.bytes) / 2 : 0
        #expect(budget.peak.bytes <= budget.limit.bytes + above)
        await listener.close()
        await service.value
        #expect(budget.used == 0)
    }
}
