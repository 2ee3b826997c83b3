// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The client's state for users, and the wait for its connection.

extension ClientSupervisor {
    var phase: AMQPClient.State { self.state.withLock { $0.machine.phase.state } }

    var connection: AMQPConnection? { self.state.withLock { $0.connection } }

    var health: AMQPClient.Health {
        self.state.withLock { state in
            AMQPClient.Health(
                state: state.machine.phase.state,
                links: state.links.count,
                linksDown: state.links.values.count { !$0.isAttached },
                downFor: state.lostSince.map { self.clock.now - $0 }
            )
        }
    }

    /// Connects unless the client already does, and suspends until a connection is open.
    func connect() async throws(AMQPError) {
        if let invalid = self.invalid { throw invalid }
        let reply = Reply<Void>()
        let known = self.state.withLock { state -> Result<Void, AMQPError>? in
            switch state.machine.phase {
            case .open: return .success(())
            case .closing, .closed: return .failure(self.endError(state))
            case .idle, .connecting, .recovering:
                state.opened.append(reply)
                return nil
            }
        }
        if let known { return try known.get() }
        self.send(.start)
        do {
            try await reply.value()
        } catch {
            self.state.withLock { $0.opened.removeAll { $0 === reply } }
            throw error
        }
    }

    func endError(_ state: State) -> AMQPError {
        if case .closed(let error?) = state.machine.phase { return error }
        return .clientClosed
    }

    func events() -> AsyncStream<AMQPClient.Event> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: AMQPClient.Event.self,
            bufferingPolicy: .bufferingNewest(1_024)
        )
        let id = self.state.withLock { state -> Int? in
            guard !state.hasClosed else { return nil }
            state.nextSubscriber += 1
            state.subscribers[state.nextSubscriber] = continuation
            return state.nextSubscriber
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.subscribers.removeValue(forKey: id) }
        }
        return stream
    }

    func emit(_ event: AMQPClient.Event) {
        for subscriber in self.state.withLock({ Array($0.subscribers.values) }) { subscriber.yield(event) }
    }
}
