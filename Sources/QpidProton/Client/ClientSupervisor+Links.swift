// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The links of a client: attached on each connection, and again after a loss of the link alone.

extension ClientSupervisor {
    /// Adds a link, connects if needed, and suspends until the link is attached.
    ///
    /// - Parameter timeout: How long the attach may take; `nil` for the lifetime of the client.
    func add(_ link: any ClientLink, timeout: Duration?) async throws(AMQPError) {
        let error = self.state.withLock { state -> AMQPError? in
            switch state.machine.phase {
            case .closing, .closed: return self.endError(state)
            case .idle, .connecting, .open, .recovering:
                state.links[ObjectIdentifier(link)] = Managed(link: link)
                return nil
            }
        }
        if let error { throw error }
        let (result, isLate) = await withLimit(timeout, self.clock) { () async throws(AMQPError) in
            try await self.connect()
            self.run(link)
            try await link.first.value()
        }
        guard case .failure(let error) = result else { return }
        let cause =
            isLate ? AMQPError.client(.timeout, "the link was not attached within \(timeout ?? .zero)") : error
        await self.remove(link, cause)
        throw cause
    }

    /// Removes a link for good.
    func remove(_ link: any ClientLink, _ error: AMQPError) async {
        let managed = self.state.withLock { $0.links.removeValue(forKey: ObjectIdentifier(link)) }
        managed?.task?.cancel()
        managed?.tried?.resolve(.success(()))
        await link.finish(error)
        self.noteAttached()
    }

    /// Keeps a link attached on the current connection, until the link or the connection ends.
    func run(_ link: any ClientLink) {
        self.state.withLock { state in
            let id = ObjectIdentifier(link)
            guard let connection = state.connection, let sessions = state.sessions, let managed = state.links[id],
                managed.generation != state.generation
            else { return }
            let (generation, before) = (state.generation, managed.task)
            state.links[id]?.generation = generation
            state.leaving[generation, default: Leaving()].runners += 1
            state.links[id]?.task = Task {
                // The last connection's task releases its link first.
                await before?.value
                let figures = await self.keep(link, connection, sessions, generation)
                self.state.withLock { state in
                    var leaving = state.leaving[generation] ?? Leaving()
                    leaving.runners -= 1
                    leaving.figures = leaving.figures + figures
                    state.leaving[generation] = leaving
                }
                self.tellLoss(of: generation)
            }
        }
    }

    /// Keeps a link attached while a connection lasts. Returns the figures of the loss when the connection has ended.
    private func keep(
        _ link: any ClientLink,
        _ connection: AMQPConnection,
        _ sessions: ClientSessions,
        _ generation: Int
    ) async -> LossFigures {
        var backoff = Backoff(self.configuration.recovery.backoff)
        var random = SystemRandomNumberGenerator()
        var session: AMQPSession?
        var figures = LossFigures()
        while connection.error == nil, link.end == nil, !Task.isCancelled {
            let (start, error, isAttached) = await self.attach(link, sessions, generation, &session)
            figures = await link.lose()
            self.note(link, isAttached: false, generation)
            let isOwn = error.condition == .closed && error.origin == .local
            if error.scope == .connection || connection.error != nil || Task.isCancelled || link.end != nil { break }
            // The close of the client closes the links, and collects their unfinished work.
            if isOwn, self.isClosing { break }
            if isAttached {
                backoff.ended(openSince: start, at: self.clock.now)
                self.emit(.linkLost(name: link.name, address: link.address, error, inDoubt: figures.inDoubt))
                self.log.linkLost(link, error, figures)
            }
            guard error.isRetryable || isOwn else {
                self.emit(.linkFailed(name: link.name, address: link.address, error))
                self.log.linkFailed(link, error)
                Task { await self.remove(link, error) }
                break
            }
            let delay = backoff.delay(at: self.clock.now, using: &random)
            try? await self.clock.sleep(until: self.clock.now + delay)
        }
        if let session, connection.error == nil { await sessions.leave(session) }
        return figures
    }

    var isClosing: Bool {
        switch self.phase {
        case .closing, .closed: true
        case .idle, .connecting, .open, .recovering: false
        }
    }

    /// Attaches a link, and suspends until it has ended. Returns the time of the attach, the cause of the end, and
    /// whether the link was ever attached.
    private func attach(
        _ link: any ClientLink,
        _ sessions: ClientSessions,
        _ generation: Int,
        _ session: inout AMQPSession?
    ) async -> (Duration, AMQPError, Bool) {
        let start = self.clock.now
        do throws(AMQPError) {
            if let old = session, old.error != nil {
                session = nil
                await sessions.leave(old)
            }
            let place: AMQPSession
            if let session { place = session } else { place = try await sessions.session(for: link) }
            session = place
            try await link.attach(on: place)
        } catch {
            return (start, error, false)
        }
        let attached = self.clock.now
        self.note(link, isAttached: true, generation)
        return (attached, await link.waitUntilLost(), true)
    }

    /// Records that a link is attached, or no longer, on the connection of a generation.
    private func note(_ link: any ClientLink, isAttached: Bool, _ generation: Int) {
        let tried = self.state.withLock { state -> Reply<Void>? in
            guard state.connection != nil, state.generation == generation else { return nil }
            state.links[ObjectIdentifier(link)]?.isAttached = isAttached
            if isAttached { state.replayed += link.replayed }
            return state.links[ObjectIdentifier(link)]?.tried
        }
        if isAttached { link.attached() }
        tried?.resolve(.success(()))
        guard isAttached else { return }
        self.log.replayed(link.replayed)
        if let change = link.addressChange {
            self.emit(.addressChanged(name: link.name, from: change.from, to: change.to))
        }
        self.noteAttached()
    }
}
