// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import Synchronization

// A consumer's life: it opens its receiver, receives messages, stops, and closes.

extension ConsumerRunner {
    /// Runs the consumer until it stops or its receiver ends. Returns the error that ended it.
    func run(_ client: AMQPClient) async -> AMQPError? {
        let opened = Reply<AMQPClient.Receiver>()
        let opening = Task {
            do throws(AMQPError) {
                opened.resolve(.success(try await self.openReceiver(client)))
            } catch {
                opened.resolve(.failure(error))
            }
        }
        self.keepUntilStop(opening)
        switch await opened.finalAnswer() {
        case .failure(let error):
            let isStopped = !self.isOpen
            self.stop(within: .zero)
            return isStopped ? nil : error
        case .success(let receiver):
            self.open(receiver)
            let ended = Reply<Void>()
            let pulling = Task {
                do throws(AMQPError) {
                    try await self.pull(receiver)
                    ended.resolve(.success(()))
                } catch {
                    ended.resolve(.failure(error))
                }
            }
            self.keepUntilStop(pulling)
            let end = await ended.finalAnswer()
            let isStopped = !self.isOpen
            self.stop(within: self.configuration.stopLimit)
            await self.close(receiver)
            if case .failure(let error) = end, !isStopped || error.condition != .cancelled { return error }
            return nil
        }
    }

    private func openReceiver(_ client: AMQPClient) async throws(AMQPError) -> AMQPClient.Receiver {
        try await client.receiver(self.configuration.link) { [self] link in
            // A stream continues after the last received message: its handler continues through the loss.
            guard let next = self.guarded.withLock({ $0.nextOffset }) else { return }
            let filter = AMQPFilter.streamOffset(.offset(next))
            link.source.filters.removeAll { $0.name == filter.name }
            link.source.filters.append(filter)
        }
    }

    /// Receives messages while they fit.
    private func pull(_ receiver: AMQPClient.Receiver) async throws(AMQPError) {
        while await self.waitForRoom() {
            guard let delivery = try await receiver.next() else { return }
            // The link is that of the message, or a later one.
            self.arrive(delivery, from: receiver.link)
        }
    }

    private func waitForRoom() async -> Bool {
        let reply = self.guarded.withLock { guarded -> Reply<Void>? in
            guard guarded.state.phase == .open, !guarded.state.hasRoom else { return nil }
            let reply = Reply<Void>()
            guarded.room = reply
            return reply
        }
        _ = try? await reply?.value()
        return self.isOpen
    }

    // MARK: Stopping

    /// How long the peer has to return its credit, and no longer than half of the remaining time.
    private static let patience = Duration.seconds(2)

    /// Stops within a limit: the shortest of several applies.
    func stop(within limit: Duration) {
        let limit = min(max(.zero, limit), .seconds(36_500 * 86_400))
        let deadline = self.clock.now + limit
        let (tasks, isNew) = self.guarded.withLock { guarded -> ([Task<Void, Never>], Bool) in
            let isNew = guarded.deadline.map { deadline < $0 } ?? true
            if isNew { guarded.deadline = deadline }
            defer { guarded.untilStop = [] }
            return (guarded.untilStop, isNew)
        }
        self.handle(.stop)
        for task in tasks { task.cancel() }
        if isNew { self.setClockwork(deadline, limit) }
    }

    /// Cancels the handlers shortly before the limit, and releases them before the link closes.
    private func setClockwork(_ deadline: Duration, _ limit: Duration) {
        let reserve = min(.seconds(1), limit / 10)
        let clockwork = Task {
            do { try await self.clock.sleep(until: deadline - reserve * 2) } catch { return }
            self.hurry()
            do { try await self.clock.sleep(until: deadline - reserve) } catch { return }
            self.handle(.expire)
        }
        let former = self.guarded.withLock { guarded in
            let former = guarded.clockwork
            guarded.clockwork = clockwork
            return former
        }
        former?.cancel()
    }

    private func hurry() {
        self.handle(.hurry)
        let tasks = self.guarded.withLock { guarded in
            defer { guarded.untilHurry = [] }
            return guarded.untilHurry
        }
        for task in tasks { task.cancel() }
    }

    private func keepUntilStop(_ task: Task<Void, Never>) {
        let isOpen = self.guarded.withLock { guarded in
            guard guarded.state.phase == .open else { return false }
            guarded.untilStop = [task]
            return true
        }
        if !isOpen { task.cancel() }
    }

    private func keepUntilHurry(_ task: Task<Void, Never>) {
        let mayRun = self.guarded.withLock { guarded in
            guard guarded.state.phase < .hurrying else { return false }
            guarded.untilHurry = [task]
            return true
        }
        if !mayRun { task.cancel() }
    }

    /// Returns the credit, releases the messages without a handler, waits for the handlers, and closes the link.
    private func close(_ receiver: AMQPClient.Receiver) async {
        let isQuiet = await self.pause(receiver)
        self.giveBack(receiver)
        _ = await self.idle.finalAnswer()
        let deadline = self.guarded.withLock { $0.deadline } ?? .zero
        // The close of the link also waits for the credit.
        let left = max(.milliseconds(1), deadline - self.clock.now)
        let closed = await receiver.close(within: isQuiet ? left : min(left, Self.patience))
        self.guarded.withLock { guarded in
            guarded.clockwork?.cancel()
            guarded.receiver = nil
            guarded.result.dropped += receiver.droppedDeliveries
            guarded.result.settlementsNotWritten = closed.settlementsNotWritten
            guarded.result.settlementsInDoubt = closed.settlementsInDoubt
        }
        let result = self.result
        self.logger.log(
            level: result.unfinished > 0 ? .warning : .info,
            result.unfinished > 0 ? "a consumer has ended with unfinished handlers" : "a consumer has ended",
            metadata: [
                "amqp.address": "\(self.configuration.receiver.source.address ?? "")",
                "amqp.detail": "\(result)",
            ]
        )
    }

    /// Drains the credit. If the peer does not answer, the close of the link revokes the credit.
    private func pause(_ receiver: AMQPClient.Receiver) async -> Bool {
        let paused = Reply<Void>()
        let pausing = Task {
            do throws(AMQPError) {
                try await receiver.pause()
                paused.resolve(.success(()))
            } catch {
                paused.resolve(.failure(error))
            }
        }
        self.keepUntilHurry(pausing)
        let left = (self.guarded.withLock { $0.deadline } ?? .zero) - self.clock.now
        let patience = min(Self.patience, max(.zero, left) / 2)
        let impatience = Task {
            do { try await self.clock.sleep(for: patience) } catch { return }
            pausing.cancel()
        }
        defer { impatience.cancel() }
        if case .success = await paused.finalAnswer() { return true }
        return false
    }

    private func giveBack(_ receiver: AMQPClient.Receiver) {
        var rest: [AMQPDelivery] = []
        while let delivery = receiver.poll() { rest.append(delivery) }
        let settled = rest.count(where: \.isSettled)
        let settlement = rest.releaseAll()
        self.guarded.withLock { guarded in
            guarded.result.dropped += settled
            let given = rest.count - settled
            guarded.result.received += given
            if settlement == .queued { guarded.result.released += given } else { guarded.result.stale += given }
        }
    }
}
