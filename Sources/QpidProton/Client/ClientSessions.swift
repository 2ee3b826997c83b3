// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The sessions of one connection of a client: one for each link, and shared ones beyond the limit.
///
/// RabbitMQ ends a whole session for one refused link. The client probes a link beyond the limit on its own session
/// first. It then attaches the link to the shared session with the fewest links.
final class ClientSessions: Sendable {
    private struct Shared: Sendable {
        let session: AMQPSession
        var links = 0
    }

    private struct State: Sendable {
        var sessions: [Shared] = []
        /// The number of sessions that are beginning.
        var begun = 0
    }

    private let connection: AMQPConnection
    private let configuration: AMQPSession.Configuration
    private let limit: Int
    private let state = Mutex(State())

    init(_ connection: AMQPConnection, _ configuration: AMQPClient.Configuration) {
        self.connection = connection
        self.configuration = configuration.session
        // One channel remains for a session that probes links.
        let channels = Int(min(connection.peer.channelMax, connection.configuration.channelMax))
        self.limit = max(1, min(configuration.sessionLimit, channels))
    }

    /// Returns a session for a link: its own below the limit, otherwise a shared one if the peer accepts the link.
    func session(for link: some ClientLink) async throws(AMQPError) -> AMQPSession {
        if self.reserve() {
            do throws(AMQPError) {
                let session = try await self.connection.openSession(self.configuration)
                self.state.withLock { state in
                    state.begun -= 1
                    state.sessions.append(Shared(session: session, links: 1))
                }
                return session
            } catch {
                self.state.withLock { $0.begun -= 1 }
                throw error
            }
        }
        let trial = try await self.connection.openSession(self.configuration)
        do throws(AMQPError) {
            try await link.probe(on: trial)
        } catch {
            _ = await trial.close()
            throw error
        }
        _ = await trial.close()
        guard let session = self.share() else {
            throw AMQPError(scope: .session, condition: .timeout, detail: "all shared sessions have ended")
        }
        return session
    }

    /// Reserves a place for a new session, if there are fewer than the limit.
    private func reserve() -> Bool {
        self.state.withLock { state in
            state.sessions.removeAll { $0.session.error != nil }
            guard state.sessions.count + state.begun < self.limit else { return false }
            state.begun += 1
            return true
        }
    }

    private func share() -> AMQPSession? {
        self.state.withLock { state in
            let open = state.sessions.indices.filter { state.sessions[$0].session.error == nil }
            guard let index = open.min(by: { state.sessions[$0].links < state.sessions[$1].links }) else { return nil }
            state.sessions[index].links += 1
            return state.sessions[index].session
        }
    }

    /// Releases a session for one link. Ends it with its last link.
    func leave(_ session: AMQPSession) async {
        let isUnused = self.state.withLock { state in
            guard let index = state.sessions.firstIndex(where: { $0.session === session }) else { return false }
            state.sessions[index].links -= 1
            guard state.sessions[index].links <= 0 else { return false }
            state.sessions.remove(at: index)
            return true
        }
        if isUnused, session.error == nil { _ = await session.close() }
    }

    /// The number of open sessions.
    var count: Int { self.state.withLock { state in state.sessions.count { $0.session.error == nil } } }
}
