// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import Synchronization

// The receiver's work for the supervisor and the application, except receiving messages.

extension ClientReceiver: ClientLink {
    var address: String? { self.settings.source.address }
    var replayed: Int { 0 }
    var isManual: Bool { self.settings.window == .manual }
    var addressChange: (from: String?, to: String?)? { self.state.withLock { $0.addressChange } }

    func attach(on session: AMQPSession) async throws(AMQPError) {
        var configuration = self.settings
        if self.first.answer != nil {
            self.resume(&configuration)
            self.change?(&configuration)
        }
        configuration.name = self.name
        let rate = self.state.withLock { $0.rate }
        configuration.rateLimit = rate
        // The client itself counts the messages that a lost link leaves.
        configuration.deliversUnsettledAfterEnd = true
        configuration.startsPaused = true
        let link = try await session.openReceiver(configuration)
        let end = self.state.withLock { state -> AMQPError? in
            if let end = state.end { return end }
            (state.held, state.heldRate) = (link, rate)
            state.last = link
            state.place.lose()
            state.addressChange = nil
            let address = link.remoteSource.address
            if configuration.source.isDynamic {
                if let known = state.knownAddress, known != address { state.addressChange = (known, address) }
                state.knownAddress = .some(address)
            }
            return nil
        }
        if let end {
            _ = await link.close()
            throw end
        }
        self.watch(link)
        self.use()
    }

    /// Withholds the credit of a connection's links until ``use(_:)``.
    func hold(_ generation: Int) { self.state.withLock { $0.holding = generation } }

    /// Grants the credit of a connection's link, and admits waiting tasks to it.
    func use(_ generation: Int) {
        self.state.withLock { if $0.holding == generation { $0.holding = nil } }
        self.use()
    }

    private func use() {
        let isUsed = self.state.withLock { state in
            guard state.holding == nil, let link = state.held else { return false }
            state.held = nil
            state.link = link
            // The lock is held, so that a concurrent pause reaches the link after this grant.
            if self.isManual { link.grant(credit: state.granted) }
            if state.rate != state.heldRate { try? link.setRateLimit(state.rate) }
            if !state.isPaused { link.resume() }
            return state.isAttached
        }
        if isUsed { self.first.resolve(.success(())) }
        self.pullIfNeeded()
    }

    func attached() {
        let isUsed = self.state.withLock { state in
            state.isAttached = true
            return state.link != nil
        }
        if isUsed { self.first.resolve(.success(())) }
    }

    func probe(on session: AMQPSession) async throws(AMQPError) {
        var configuration = self.settings
        configuration.window = .manual
        let link = try await session.openReceiver(configuration)
        _ = await link.close()
    }

    func waitUntilLost() async -> AMQPError {
        guard let link = self.state.withLock({ $0.last }) else { return .receiverIsClosed }
        try? await link.waitUntilClosed()
        return link.error ?? .receiverIsClosed
    }

    func lose() async -> LossFigures {
        let link = self.state.withLock { state -> AMQPReceiver? in
            if state.link != nil { state.letGo() }
            state.held = nil
            defer { state.last = nil }
            return state.last
        }
        guard let link else { return LossFigures() }
        var (settled, dropped): ([AMQPDelivery], Int) = ([], 0)
        while let delivery = link.poll() {
            if delivery.isSettled { settled.append(delivery) } else { dropped += 1 }
        }
        self.noteOffsets(settled)
        let all = self.state.withLock { state in
            let before = state.spare.count
            state.spare.removeAll { !$0.isSettled }
            dropped += before - state.spare.count
            state.spare += settled
            state.dropped += dropped
            return dropped
        }
        self.serveLine()
        return LossFigures(dropped: all)
    }

    /// Delivers the unread messages of a lost link to the waiting tasks.
    private func serveLine() {
        let served = self.state.withLock { state in
            var served: [(Reply<AMQPDelivery?>, AMQPDelivery)] = []
            while !state.line.isEmpty, let delivery = state.spare.popFirst() {
                served.append((state.line.removeFirst().reply, delivery))
            }
            return served
        }
        for (reply, delivery) in served { reply.resolve(.success(delivery)) }
    }

    func finish(_ error: AMQPError) async {
        let (link, line) = self.state.withLock { state -> (AMQPReceiver?, [Waiting]) in
            if state.end == nil { state.end = error }
            let link = state.link ?? state.held
            if state.link != nil { state.letGo() }
            state.held = nil
            defer { state.line = [] }
            return (link, state.line)
        }
        self.first.resolve(.failure(error))
        let isOrderly = error == .receiverIsClosed || error == .clientClosed
        for waiting in line { waiting.reply.resolve(isOrderly ? .success(nil) : .failure(error)) }
        // The receiver does not wait for the close, because the peer may not answer.
        if let link, link.error == nil { Task { await link.close() } }
    }

    /// Stops the link in order; ``unfinished`` then holds the unfinished work.
    ///
    /// - Parameter limit: The whole limit; with zero the receiver does not wait for the application.
    func stop(_ error: AMQPError, within limit: Duration, until deadline: Duration) async -> AMQPError? {
        let link = self.state.withLock { state in
            if state.end == nil { state.end = error }
            return state.link ?? state.held
        }
        guard let link, link.error == nil else { return nil }
        let result = await link.close(within: self.clock.left(of: limit, until: deadline))
        self.state.withLock { state in
            if let unfinished = result.unfinished.first { state.unfinished = unfinished }
        }
        return result.error
    }

    // MARK: The application

    func pause() async throws(AMQPError) {
        let link = self.state.withLock { state in
            state.isPaused = true
            return state.link
        }
        do {
            try await link?.pause()
        } catch {
            // The next link is paused before a task receives from it.
            if error.condition != .cancelled, link?.error != nil { return }
            throw error
        }
    }

    func resume() {
        let link = self.state.withLock { state in
            state.isPaused = false
            return state.link
        }
        link?.resume()
    }

    var isPaused: Bool { self.state.withLock { $0.isPaused } }

    func setRate(_ rate: AMQPRateLimit?) throws(AMQPError) {
        try rate?.validate()
        let link = self.state.withLock { state in
            state.rate = rate
            return state.link
        }
        try link?.setRateLimit(rate)
    }

    func grant(_ credit: Int) {
        guard credit > 0, self.isManual else { return }
        let link = self.state.withLock { state in
            state.granted += min(credit, Int(Int32.max))
            return state.link
        }
        link?.grant(credit: credit)
    }
}
