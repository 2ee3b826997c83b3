public import NIOCore

// Waits with a limit. Without one they last as long as the link.

extension AMQPSender {
    /// Sends a message and suspends until it is settled, for a limited time. As ``send(_:settled:options:)`` else.
    ///
    /// The limit covers the waits for room, for credit and for the outcome. At the limit, a message that has not begun to be sent
    /// is taken back, and the error's ``AMQPError/fate`` is ``AMQPError/Fate/notSent``. Otherwise it is
    /// ``AMQPError/Fate/inDoubt``, and ``AMQPError/tracker`` can still await the outcome.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - settled: Whether to send it settled; nil for the link's ``settleMode``.
    ///   - options: Its delivery-tag and message-format.
    ///   - timeout: How long the call may take.
    /// - Returns: What the receiver decided.
    /// - Throws: As ``send(_:settled:options:)``, and ``AMQPCondition/timeout`` at the limit.
    @discardableResult
    public func send(
        _ message: AMQPMessage,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init(),
        timeout: Duration
    ) async throws(AMQPError) -> AMQPOutcome {
        try await self.session.connection.within(timeout, "the message was not settled") { () async throws(AMQPError) in
            try await self.send(message, settled: settled, options: options)
        }
    }

    /// Accepts a message, and suspends only until there is room for it, for a limited time. As ``enqueue(_:settled:options:)`` else.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - settled: Whether to send it settled; nil for the link's ``settleMode``.
    ///   - options: Its delivery-tag and message-format.
    ///   - timeout: How long the call may take.
    /// - Returns: The tracker, whose outcome can be awaited.
    /// - Throws: As ``enqueue(_:settled:options:)``, and ``AMQPCondition/timeout`` at the limit: the message was not sent.
    @discardableResult
    public func enqueue(
        _ message: AMQPMessage,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init(),
        timeout: Duration
    ) async throws(AMQPError) -> AMQPTracker {
        try await self.session.connection.within(timeout, "there was no room") { () async throws(AMQPError) in
            try await self.enqueue(message, settled: settled, options: options)
        }
    }

    /// Accepts a message that is encoded already. As ``enqueue(_:settled:options:timeout:)`` else.
    ///
    /// - Parameters:
    ///   - encoded: The sections of the message; sent as they are.
    ///   - settled: Whether to send it settled; nil for the link's ``settleMode``.
    ///   - options: Its delivery-tag and message-format.
    ///   - timeout: How long the call may take.
    @discardableResult
    public func enqueue(
        encoded: ByteBuffer,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init(),
        timeout: Duration
    ) async throws(AMQPError) -> AMQPTracker {
        try await self.session.connection.within(timeout, "there was no room") { () async throws(AMQPError) in
            try await self.enqueue(encoded: encoded, settled: settled, options: options)
        }
    }
}

extension AMQPConnection {
    /// Runs a call for a limited time of the loop's clock. At the limit the call is cancelled, and its error is a timeout.
    ///
    /// - Parameters:
    ///   - limit: How long the call may take.
    ///   - failure: What did not happen in time, for the text of the error.
    fileprivate func within<Value: Sendable>(
        _ limit: Duration,
        _ failure: String,
        _ call: @escaping @Sendable () async throws(AMQPError) -> Value
    ) async throws(AMQPError) -> Value {
        let limitReached = Reply<Void>()
        let timer = self.parts.channel.eventLoop.scheduleTask(in: .nanoseconds(max(.zero, limit).nanoseconds)) {
            _ = limitReached.resolve(.success(()))
        }
        defer { timer.cancel() }
        let answer = await withTaskGroup(of: Result<Value, AMQPError>?.self) { group in
            group.addTask {
                do throws(AMQPError) { return .success(try await call()) } catch { return .failure(error) }
            }
            group.addTask {
                _ = try? await limitReached.value()
                return nil
            }
            for await answer in group {
                // The first answer cancels the other task.
                group.cancelAll()
                if let answer { return answer }
            }
            return .failure(.cancelled)
        }
        guard case .failure(var error) = answer, error.condition == .cancelled, !Task.isCancelled,
            case .success? = limitReached.answer
        else { return try answer.get() }
        error.condition = .timeout
        error.detail = "\(failure) within \(limit)"
        throw error
    }
}
