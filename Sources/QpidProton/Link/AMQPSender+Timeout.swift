// SPDX-License-Identifier: Apache-2.0

public import NIOCore
internal import Synchronization

// The calls with a time limit. Calls without one wait until the link ends.

extension AMQPSender {
    /// Sends a message and waits for its outcome, for a limited time. Otherwise the same as
    /// ``send(_:settled:options:)``.
    ///
    /// The limit covers the waits for room, for credit and for the outcome. If no byte of the message has been sent at
    /// the limit, the sender withdraws the message. The error's ``AMQPError/fate`` is then ``AMQPError/Fate/notSent``,
    /// and ``AMQPError/blockedBy`` holds the causes of the wait. Otherwise the fate is ``AMQPError/Fate/inDoubt``, and
    /// ``AMQPError/tracker`` can still await the outcome.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    ///   - timeout: How long the call may take. With zero or less, the call succeeds only if it need not wait.
    /// - Returns: The receiver's decision.
    /// - Throws: The same errors as ``send(_:settled:options:)``, and ``AMQPCondition/timeout`` at the limit.
    @discardableResult
    public func send(
        _ message: AMQPMessage,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init(),
        timeout: Duration
    ) async throws(AMQPError) -> AMQPOutcome {
        let accepted = Reply<Void>()
        return try await self.within(timeout, "the message was not settled", accepted: accepted) {
            () async throws(AMQPError) in
            let tracker = try await self.enqueue(message, settled: settled, options: options)
            _ = accepted.resolve(.success(()))
            return try await self.settlement(of: tracker)
        }
    }

    /// Accepts a message, and suspends for a limited time until there is room for it. Otherwise the same as
    /// ``enqueue(_:settled:options:)``.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    ///   - timeout: How long the call may take. With zero or less, the call succeeds only if it need not wait.
    /// - Returns: The tracker, which can await the outcome.
    /// - Throws: The same errors as ``enqueue(_:settled:options:)``, and ``AMQPCondition/timeout`` at the limit: the
    ///   message was not sent.
    @discardableResult
    public func enqueue(
        _ message: AMQPMessage,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init(),
        timeout: Duration
    ) async throws(AMQPError) -> AMQPTracker {
        try await self.within(timeout, "there was no room") { () async throws(AMQPError) in
            try await self.enqueue(message, settled: settled, options: options)
        }
    }

    /// Accepts a message that is already encoded. Otherwise the same as ``enqueue(_:settled:options:timeout:)``.
    ///
    /// - Parameters:
    ///   - encoded: The sections of the message; sent unchanged.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    ///   - timeout: How long the call may take. With zero or less, the call succeeds only if it need not wait.
    @discardableResult
    public func enqueue(
        encoded: ByteBuffer,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init(),
        timeout: Duration
    ) async throws(AMQPError) -> AMQPTracker {
        try await self.within(timeout, "there was no room") { () async throws(AMQPError) in
            try await self.enqueue(encoded: encoded, settled: settled, options: options)
        }
    }
}

extension AMQPSender {
    /// Runs a call for a limited time.
    ///
    /// - Parameters:
    ///   - limit: How long the call may take.
    ///   - failure: The first words of the error text.
    ///   - accepted: Resolved when the message has been accepted; before that, the call waits for room.
    fileprivate func within<Value: Sendable>(
        _ limit: Duration,
        _ failure: String,
        accepted: Reply<Void> = .init(),
        _ call: @escaping @Sendable () async throws(AMQPError) -> Value
    ) async throws(AMQPError) -> Value {
        let connection = self.session.connection
        let deadline = connection.parts.channel.eventLoop.now + .nanoseconds(max(.zero, limit).nanoseconds)
        return try await connection.until(deadline, call) {
            accepted.answer == nil
                ? self.outbox.refusalOfFirst(self.node)?.blockedBy ?? []
                : [self.core.status.cause.load(ordering: .relaxed).blockCause]
        } atLimit: { cancelled, causes in
            var error = cancelled
            error.condition = .timeout
            // A started message waits for its outcome.
            error.blockedBy = error.fate == .notSent ? causes : []
            let reason = error.blockedBy.map { "\($0)" }.joined(separator: ", and ")
            error.detail = "\(failure) within \(limit)" + (reason.isEmpty ? "" : ": \(reason)")
            return error
        }
    }
}

private enum LimitedAnswer<Value: Sendable, State: Sendable>: Sendable {
    case call(Result<Value, AMQPError>)
    case limit(State)
    case cancelled
}

extension AMQPConnection {
    /// Runs a call until a deadline of the loop's clock. At the deadline, cancels the call and replaces its error.
    ///
    /// - Parameters:
    ///   - deadline: The time.
    ///   - call: The call.
    ///   - state: Returns the state at the deadline, before the call is cancelled.
    ///   - error: Makes the error from the cancelled call's error and the observed state.
    func until<Value: Sendable, State: Sendable>(
        _ deadline: NIODeadline,
        _ call: @escaping @Sendable () async throws(AMQPError) -> Value,
        observing state: @escaping @Sendable () -> State,
        atLimit error: (AMQPError, State) -> AMQPError
    ) async throws(AMQPError) -> Value {
        let limit = Reply<Void>()
        let timer = self.parts.channel.eventLoop.scheduleTask(deadline: deadline) {
            _ = limit.resolve(.success(()))
        }
        defer { timer.cancel() }
        let (result, observed) = await withTaskGroup(of: LimitedAnswer<Value, State>.self) { group in
            group.addTask {
                do throws(AMQPError) { return .call(.success(try await call())) } catch {
                    return .call(.failure(error))
                }
            }
            group.addTask {
                do throws(AMQPError) { try await limit.value() } catch { return .cancelled }
                return .limit(state())
            }
            var result = Result<Value, AMQPError>.failure(.cancelled)
            var observed: State?
            for await answer in group {
                // The first answer cancels the other task.
                group.cancelAll()
                switch answer {
                case .call(let answer): result = answer
                case .limit(let state): observed = state
                case .cancelled: break
                }
            }
            return (result, observed)
        }
        guard case .failure(let cancelled) = result, cancelled.condition == .cancelled, !Task.isCancelled, let observed
        else { return try result.get() }
        throw error(cancelled, observed)
    }
}
