// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// The error of a test's failing handler.
struct HandlerFailure: Error, CustomStringConvertible {
    var description = "no stock"
}

/// The log of a test's handlers, and the gates that hold them.
final class HandlerLog: Sendable {
    private let entries = Mutex<[String]>([])
    private let gates = Mutex<Set<String>>([])
    var all: [String] { self.entries.withLock { $0 } }
    func add(_ entry: String) { self.entries.withLock { $0.append(entry) } }
    func open(_ gate: String) { self.gates.withLock { _ = $0.insert(gate) } }
    func isOpen(_ gate: String) -> Bool { self.gates.withLock { $0.contains(gate) } }

    /// Suspends a handler until the test opens the gate.
    func pass(_ gate: String) async throws {
        try await waitUntil("gate \(gate)") { self.isOpen(gate) }
    }
}

extension AMQPConsumer.Delivery {
    /// The body as text.
    var text: String { get throws { try self.decodeMessage().bodyString ?? "?" } }
}

/// Runs `body` beside a consumer, with the peer's sender to it.
func withConsumer(
    _ change: (inout AMQPConsumer.Configuration) -> Void = { _ in },
    handler: @escaping @Sendable (AMQPConsumer.Delivery) async throws -> Void,
    _ body: (AMQPConsumer, AMQPSender, ClientPeer, FaultProxy) async throws -> Void
) async throws {
    try await withClient { client, peer, proxy in
        var configuration = AMQPConsumer.Configuration(source: "q")
        configuration.retryDelay = .milliseconds(1)
        change(&configuration)
        let consumer = AMQPConsumer(client, configuration, handler: handler)
        let running = Task { try await consumer.run() }
        try await waitUntil("the link") { peer.senders.count == 1 }
        try await body(consumer, peer.senders[0], peer, proxy)
        await consumer.stop(within: .seconds(5))
        _ = try? await within("the end of the consumer") { try await running.value }
    }
}

extension Sequence {
    func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows
        -> [Value]
    {
        var values: [Value] = []
        for element in self { values.append(try await transform(element)) }
        return values
    }
}
