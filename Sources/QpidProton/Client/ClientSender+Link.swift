// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import Synchronization

// The sender's work for the supervisor.

extension ClientSender: ClientLink {
    var address: String? { self.settings.link.target.address }

    func attach(on session: AMQPSession) async throws(AMQPError) {
        var configuration = self.settings.link
        configuration.name = self.name
        // The client's own limit decides about a message that does not fit.
        configuration.overflow = .suspend
        configuration.keptLimit = self.settings.replayLimit.bytes
        let link = try await session.openSender(configuration)
        await self.waitUntilAnswered()
        let end = self.change { state, _ -> AMQPError? in
            if let end = state.end, state.queue.hasEnded { return end }
            state.link = link
            state.isFeeding = false
            state.replayed = state.queue.doubtful
            state.addressChange = nil
            if configuration.target.isDynamic {
                let address = link.remoteTarget.address
                if let known = state.knownAddress, known != address { state.addressChange = (known, address) }
                state.knownAddress = .some(address)
            }
            state.queue.begin()
            return nil
        }
        guard let end else { return }
        _ = await link.close()
        throw end
    }

    func attached() { self.first.resolve(.success(())) }

    func probe(on session: AMQPSession) async throws(AMQPError) {
        let link = try await session.openSender(self.settings.link)
        _ = await link.close()
    }

    func waitUntilLost() async -> AMQPError {
        guard let link = self.link else { return .senderIsClosed }
        try? await link.waitUntilClosed()
        return link.error ?? .senderIsClosed
    }

    func lose() async -> LossFigures {
        self.change { state, _ in
            state.link = nil
            state.isFeeding = false
            state.queue.end()
        }
        await self.waitUntilAnswered()
        return self.change { state, work in
            self.expire(&state, at: self.clock.now, &work)
            return LossFigures(inDoubt: state.queue.doubtful, bytes: state.queue.doubtfulBytes)
        }
    }

    var replayed: Int { self.change { state, _ in state.replayed } }
    var addressChange: (from: String?, to: String?)? { self.change { state, _ in state.addressChange } }

    /// Suspends until the peer has granted credit for the messages that are sent again, the link is lost, or the task
    /// is cancelled.
    func waitUntilReplayed() async {
        let (link, count) = self.change { state, _ in (state.link, state.replayed) }
        guard let link, count > 0 else { return }
        // Those messages are the first of the link.
        var limit = link.deliveryLimit
        while limit < count {
            guard let next = try? await link.deliveryLimit(after: limit) else { return }
            limit = next
        }
        let handed = Reply<Void>()
        self.change { state, _ in state.handed.append(handed) }
        _ = try? await handed.value()
    }

    /// Suspends until the link of the last turn has reported every message.
    private func waitUntilAnswered() async {
        let reply = Reply<Void>()
        self.change { state, _ in state.answered.append(reply) }
        _ = await reply.finalAnswer()
    }

    // MARK: The end

    /// Refuses further messages; tasks that wait for room fail.
    func stopAccepting(_ error: AMQPError) {
        self.change { state, work in
            if state.end == nil { state.end = error }
            for waiting in state.waiting {
                work.admitted.append((waiting.reply, .failure(error.concerning(.notSent))))
            }
            state.waiting = []
        }
    }

    /// Closes the link for good, after ``stopAccepting(_:)``. Returns the error of the close.
    func leave(of limit: Duration, until deadline: Duration) async -> AMQPError? {
        let link = self.change { state, _ in
            state.isLeaving = true
            return state.link
        }
        guard let link, link.error == nil else { return nil }
        return await link.close(within: self.clock.left(of: limit, until: deadline)).error
    }

    /// Suspends until every message has its fate, or until a time.
    func flush(until deadline: Duration? = nil) async {
        let reply = Reply<Void>()
        self.change { state, _ in state.emptied.append(reply) }
        guard let deadline else { return _ = await reply.finalAnswer() }
        await reply.wait(until: deadline, self.clock)
    }

    func finish(_ error: AMQPError) async {
        self.stopAccepting(error)
        let link = self.change { state, _ in
            state.queue.endAll()
            defer { state.link = nil }
            return state.link
        }
        self.first.resolve(.failure(error))
        // No wait for its end, because the peer may not answer. The link returns its messages at once.
        if let link, link.error == nil { Task { await link.close() } }
        await self.waitUntilAnswered()
    }

    /// Whether no message is left to send.
    var isEmpty: Bool { self.change { state, _ in state.queue.isEmpty && state.waiting.isEmpty } }
}

extension Reply {
    /// Suspends until the answer, a time, or the cancellation of the task.
    func wait(until deadline: Duration, _ clock: ClientClock) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = try? await self.value() }
            group.addTask { try? await clock.sleep(until: deadline) }
            await group.next()
            group.cancelAll()
        }
    }
}
