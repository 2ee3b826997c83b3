// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// The sender's work for tasks.

extension ClientSender {
    /// The result of handing a message over.
    enum Admission: Sendable {
        case accepted(AMQPClient.Tracker)
        case waits(Reply<AMQPClient.Tracker>)
        case refused(AMQPError)
    }

    /// Checks a message that a task hands over.
    func message(
        _ encoded: ByteBuffer,
        _ settled: Bool?,
        _ options: AMQPSendOptions,
        header: AMQPHeader? = nil
    ) throws(AMQPError) -> ClientMessage {
        if let tag = options.deliveryTag, !(1...32).contains(tag.count) {
            let text = "the delivery-tag has \(tag.count) bytes: it must have 1 to 32"
            throw .client(.invalidArgument, text, fate: .notSent)
        }
        let isSettled = try self.isSettled(settled)
        return ClientMessage(encoded, options, isSettled: isSettled, header: header, at: self.clock.now)
    }

    /// Returns whether a message is sent settled.
    func isSettled(_ settled: Bool?) throws(AMQPError) -> Bool {
        let mode = self.settings.link.settleMode
        let isSettled =
            switch mode {
            case .settled: true
            case .unsettled: false
            case .mixed: settled ?? false
            }
        guard let settled, settled != isSettled else { return isSettled }
        let text = "the link's settle mode is \(isSettled ? "settled" : "unsettled")"
        throw .client(.invalidArgument, text, fate: .notSent)
    }

    /// Accepts a message, and suspends until it fits.
    func enqueue(_ message: ClientMessage) async throws(AMQPError) -> AMQPClient.Tracker {
        switch self.admit(message, waits: true) {
        case .accepted(let tracker): return tracker
        case .refused(let error): throw error
        case .waits(let reply):
            do {
                return try await reply.value()
            } catch let error where error.condition == .cancelled {
                guard let tracker = await self.stopWaiting(reply) else {
                    throw .client(.cancelled, "the task was cancelled while it waited for room", fate: .notSent)
                }
                return try tracker.get()
            }
        }
    }

    /// Accepts a message if it fits now.
    func trySend(_ message: ClientMessage) throws(AMQPError) -> AMQPClient.Tracker {
        switch self.admit(message, waits: false) {
        case .accepted(let tracker): return tracker
        case .refused(let error): throw error
        case .waits: throw .client(.wouldBlock, "the replay limit is full", fate: .notSent)
        }
    }

    private func admit(_ message: ClientMessage, waits: Bool) -> Admission {
        self.change { state, work in
            if let end = state.end { return .refused(end.concerning(.notSent)) }
            let bytes = message.encoded.readableBytes
            // A task that may wait does not fill the queue while the link is full.
            let mustWait = waits && state.isFeeding && self.settings.link.overflow == .suspend
            if state.waiting.isEmpty, !mustWait, self.reserve(bytes, &state) {
                return .accepted(self.accept(message, &state))
            }
            switch self.settings.link.overflow {
            case .suspend where waits:
                let reply = Reply<AMQPClient.Tracker>()
                state.waiting.append(Waiting(message: message, reply: reply))
                // A message that needs a large part of the limit waits for its own room only.
                if !state.queue.hasRoom(for: bytes) { state.isFull = bytes < self.settings.replayLimit.bytes / 8 }
                if let deadline = message.deadline { state.nextExpiry = min(state.nextExpiry ?? deadline, deadline) }
                return .waits(reply)
            case .dropOldest where waits:
                if self.replaceOldest(bytes, &state) { return .accepted(self.accept(message, &state)) }
                return .accepted(self.drop(message, &state, &work))
            case .dropNewest where waits: return .accepted(self.drop(message, &state, &work))
            case .suspend, .fail, .dropOldest, .dropNewest: return .refused(self.refusal(bytes, state))
            }
        }
    }

    private func accept(_ message: ClientMessage, _ state: inout State) -> AMQPClient.Tracker {
        let promise = state.trackers.next()
        let deadline = message.deadline
        let key = state.queue.accept(
            Accepted(message: message, promise: promise),
            bytes: message.encoded.readableBytes,
            deadline: deadline,
            isSettled: message.isSettled
        )
        promise.place = key.slot
        if let deadline {
            state.nextExpiry = min(state.nextExpiry ?? deadline, deadline)
            state.hasDeadlines = true
        }
        return AMQPClient.Tracker(tracker: promise.tracker, sequence: key.sequence)
    }

    private func drop(_ message: ClientMessage, _ state: inout State, _ work: inout Work) -> AMQPClient.Tracker {
        let promise = state.trackers.next()
        state.queue.refuse(.dropped)
        var error = self.refusal(message.encoded.readableBytes, state).concerning(.dropped)
        error.condition = .dropped
        error.scope = .delivery
        work.resolved.append((promise, .failure(error)))
        return AMQPClient.Tracker(tracker: promise.tracker, sequence: nil)
    }

    private func refusal(_ bytes: Int, _ state: State) -> AMQPError {
        let hasRoom = state.queue.hasRoom(for: bytes)
        if hasRoom, state.isFeeding, state.refused == nil, let error = state.link?.firstRefusal { return error }
        let budget = hasRoom ? state.share?.budget : nil
        let isBudget = budget != nil
        let limit = budget.map { "memory budget of \($0.limit)" } ?? "replay limit of \(self.settings.replayLimit)"
        let shared = budget.map { " of \($0.used.bytes) in the budget" } ?? ""
        let cause = state.link == nil ? ", and the link is lost" : ""
        let text =
            "the \(limit) is full: \(state.queue.used) bytes\(shared) are not settled\(cause); the message has \(bytes) bytes"
        var error = AMQPError.client(.wouldBlock, text, fate: .notSent)
        error.blockedBy = [isBudget ? .memoryBudget : .replayLimit, Self.cause(of: state.link)]
        return error
    }

    /// Returns why the used part of the replay limit is not freed.
    private static func cause(of link: AMQPSender?) -> AMQPBlockCause {
        guard let link else { return .closed }
        return link.outgoingBytes > 0 && link.credit == 0 ? .credit : .unsettled
    }

    /// Admits waiting tasks, in their order, while their messages fit.
    func admit(_ state: inout State, _ work: inout Work) {
        if state.isFull, !state.queue.hasAmpleRoom { return }
        state.isFull = false
        // While the link is full, only a task whose turn at the budget may have come does not wait: other connections wait
        // behind it.
        while let first = state.waiting.first, !state.isFeeding || first.reply === state.refused,
            self.reserve(first.message.encoded.readableBytes, &state, for: first.reply)
        {
            state.waiting.removeFirst()
            work.admitted.append((first.reply, .success(self.accept(first.message, &state))))
        }
        guard !work.admitted.isEmpty, !state.isFeeding, let link = state.link else { return }
        self.pump(&state, link, at: self.now(state), &work)
    }

    /// Removes a waiting task. Returns its result if that arrived first.
    private func stopWaiting(
        _ reply: Reply<AMQPClient.Tracker>
    ) async -> Result<AMQPClient.Tracker, AMQPError>? {
        let isOut = self.change { state, _ in
            guard let index = state.waiting.firstIndex(where: { $0.reply === reply }) else { return false }
            state.waiting.remove(at: index)
            return true
        }
        // Its remover answers it within moments.
        return isOut ? nil : await reply.finalAnswer()
    }

    // MARK: Outcomes

    /// Waits for the outcome of a message. Cancellation withdraws it if it has never left.
    func settlement(of tracker: AMQPClient.Tracker) async throws(AMQPError) -> AMQPOutcome {
        do {
            return try await tracker.outcome()
        } catch let error where error.condition == .cancelled && tracker.result == nil {
            guard self.withdraw(tracker) else {
                if let result = tracker.result { return try result.get() }
                var error = AMQPError.client(.cancelled, "the task was cancelled", fate: .inDoubt)
                error.tracker = tracker.tracker
                throw error
            }
            throw .client(.cancelled, "the task was cancelled", fate: .notSent)
        }
    }

    private func withdraw(_ tracker: AMQPClient.Tracker) -> Bool {
        guard let sequence = tracker.sequence else { return false }
        return self.change { state, work in
            let key = Queue.Key(slot: tracker.tracker.reply.place, sequence: sequence)
            guard let entry = state.queue.withdraw(key) else { return false }
            let error = AMQPError.client(.cancelled, "the task was cancelled", fate: .notSent)
            work.resolved.append((entry.content.promise, .failure(error)))
            return true
        }
    }
}
