// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The end of a client.

extension ClientSupervisor {
    /// The longest limit of a close: far from the end of the clock.
    private static let longest = Duration.seconds(36_500 * 86_400)

    /// Closes the client within a limit, and returns the unfinished work. Concurrent closes share one result and the
    /// shortest of their limits.
    func close(within limit: Duration) async -> AMQPCloseResult {
        let deadline = self.clock.now + min(max(.zero, limit), Self.longest)
        let isShorter = self.state.withLock { state in
            defer { state.closeBy = min(state.closeBy ?? deadline, deadline) }
            if limit <= .zero { state.closesAtOnce = true }
            return state.closeBy.map { deadline < $0 } ?? false
        }
        self.shutdown.stopConsumers(closingWithin: limit)
        self.send(.close)
        let end = isShorter ? Task { await self.endClose(at: deadline) } : nil
        defer { end?.cancel() }
        let answer = await withTaskCancellationHandler {
            await self.ended.finalAnswer()
        } onCancel: {
            self.hurry()
        }
        switch answer {
        case .success(let result): return result
        case .failure(let error): return AMQPCloseResult(error: error)
        }
    }

    /// Ends the work of a running close when a shorter limit has passed.
    private func endClose(at deadline: Duration) async {
        do { try await self.clock.sleep(until: deadline) } catch { return }
        self.hurry()
    }

    /// Closes the client when its last reference is released.
    func closeAtOnce() {
        guard !self.state.withLock({ $0.hasClosed }) else { return }
        Task { await self.close(within: .zero) }
    }

    /// Closes a sender within a limit.
    func close(_ sender: ClientSender, within limit: Duration) async -> AMQPCloseResult {
        let (deadline, workEnd) = self.deadlines(limit)
        sender.stopAccepting(.senderIsClosed)
        await sender.flush(until: workEnd)
        let error = await sender.leave(of: limit, until: deadline)
        await self.remove(sender, .senderIsClosed)
        return AMQPCloseResult(error: error, unfinished: [sender.unfinished])
    }

    /// Closes a receiver within a limit.
    func close(_ receiver: ClientReceiver, within limit: Duration) async -> AMQPCloseResult {
        let (deadline, _) = self.deadlines(limit)
        let error = await receiver.stop(.receiverIsClosed, within: limit, until: deadline)
        await self.remove(receiver, .receiverIsClosed)
        return AMQPCloseResult(error: error, unfinished: [receiver.unfinished])
    }

    /// Returns the end of a limit, and the end of the work within it: the rest is for the peer's answer.
    private func deadlines(_ limit: Duration) -> (end: Duration, workEnd: Duration) {
        let limit = min(max(.zero, limit), Self.longest)
        let end = self.clock.now + limit
        return (end, end - min(.seconds(1), limit / 40))
    }

    /// Ends the remaining time of a close.
    private func hurry() {
        self.shutdown.stopConsumers(closingWithin: .zero)
        let task = self.state.withLock { state in
            state.closeBy = min(state.closeBy ?? self.clock.now, self.clock.now)
            return state.closing
        }
        task?.cancel()
    }

    /// Finishes the work of all links, and closes the connection.
    func shut(_ generation: Int) async {
        let (connection, links, deadline, isAtOnce) = self.state.withLock { state in
            (state.connection, state.links.values.map(\.link), state.closeBy ?? self.clock.now, state.closesAtOnce)
        }
        guard let connection else { return self.send(.shut(generation: generation)) }
        // A part of the time is reserved for the peer's answer.
        let left = self.clock.left(of: isAtOnce ? .zero : .seconds(1), until: deadline)
        let workEnd = deadline - min(.seconds(1), left / 40)
        let work = Task {
            await withTaskGroup(of: Void.self) { group in
                for case let receiver as ClientReceiver in links {
                    group.addTask {
                        _ = await receiver.stop(.clientClosed, within: left, until: workEnd)
                    }
                }
            }
            // The application may send until its receivers have stopped.
            await withTaskGroup(of: Void.self) { group in
                for case let sender as ClientSender in links {
                    sender.stopAccepting(.clientClosed)
                    group.addTask { await sender.flush(until: workEnd) }
                }
            }
        }
        let lost = Task {
            try? await connection.waitUntilClosed()
            work.cancel()
        }
        await withTaskCancellationHandler {
            await work.value
        } onCancel: {
            work.cancel()
        }
        lost.cancel()
        let cause = connection.error
        let result = await connection.close(within: self.clock.left(of: left, until: deadline))
        self.state.withLock { $0.closeError = cause ?? result.error }
        self.send(.shut(generation: generation))
    }

    /// Ends all links, and answers the tasks that wait for the end.
    func finish(_ error: AMQPError?) async {
        let (links, connection, opened, brought, loss) = self.state.withLock { state in
            state.hasClosed = true
            state.timer?.task.cancel()
            state.timer = nil
            let links = state.links.values.map { ($0.link, $0.task) }
            let brought = state.brought.values.map(\.connection)
            defer {
                state.links = [:]
                state.opened = []
                state.connection = nil
                state.brought = [:]
            }
            return (links, state.connection, state.opened, brought, error ?? state.closeError ?? state.lastLoss)
        }
        let end = error ?? .clientClosed
        for reply in opened { reply.resolve(.failure(end)) }
        for (_, task) in links { task?.cancel() }
        await withTaskGroup(of: Void.self) { group in
            for (link, task) in links {
                group.addTask {
                    await link.finish(end)
                    await task?.value
                }
            }
        }
        for connection in brought + (connection.map { [$0] } ?? []) where connection.error == nil {
            // The client does not wait for the close, because the peer may not answer.
            Task { await connection.close(within: .seconds(1)) }
        }
        let senders = links.compactMap { ($0.0 as? ClientSender)?.unfinished }
        let receivers = links.compactMap { ($0.0 as? ClientReceiver)?.unfinished }
        let result = AMQPCloseResult(error: loss, unfinished: senders + receivers)
        self.log.closed(error, result)
        self.emit(.closed(error))
        for subscriber in self.state.withLock({ state in
            defer { state.subscribers = [:] }
            return Array(state.subscribers.values)
        }) {
            subscriber.finish()
        }
        self.ended.resolve(.success(result))
    }
}
