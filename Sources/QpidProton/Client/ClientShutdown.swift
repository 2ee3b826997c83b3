// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The end of a client, which its consumers share: one deadline for all, from the first shutdown request.
final class ClientShutdown: Sendable {
    private struct State: Sendable {
        var deadline: Duration?
        var consumers: [ObjectIdentifier: ConsumerRunner] = [:]
    }

    private let limit: Duration
    private let clock: ClientClock
    private let state = Mutex(State())

    init(_ limit: Duration, _ clock: ClientClock) {
        self.limit = limit
        self.clock = clock
    }

    /// Returns the part of a limit that consumers leave to the senders and the close of the connection.
    static func reserve(of limit: Duration) -> Duration { min(.seconds(2), max(.zero, limit) / 4) }

    /// Whether a shutdown has begun and its deadline has not passed.
    var isRunning: Bool { self.state.withLock { $0.deadline.map { $0 > self.clock.now } ?? false } }

    /// Begins a shutdown, or joins the current one. Returns how long its consumers may take.
    func beginForConsumer() -> Duration { max(.zero, self.begin() - Self.reserve(of: self.limit)) }

    /// Begins a shutdown, or joins the current one. Returns how long the close of the client may take.
    func beginForClient() -> Duration { max(Self.reserve(of: self.limit) / 2, self.begin()) }

    private func begin() -> Duration {
        self.state.withLock { state in
            let now = self.clock.now
            if let deadline = state.deadline, deadline > now { return deadline - now }
            state.deadline = now + self.limit
            return self.limit
        }
    }

    // MARK: Consumers

    func add(_ consumer: ConsumerRunner) { self.state.withLock { $0.consumers[ObjectIdentifier(consumer)] = consumer } }

    func remove(_ consumer: ConsumerRunner) {
        _ = self.state.withLock { $0.consumers.removeValue(forKey: ObjectIdentifier(consumer)) }
    }

    /// Stops all consumers before a close of the client with this limit.
    func stopConsumers(closingWithin limit: Duration) {
        let consumers = self.state.withLock { Array($0.consumers.values) }
        for consumer in consumers { consumer.stop(within: limit - Self.reserve(of: limit)) }
    }
}
