// SPDX-License-Identifier: Apache-2.0

extension AMQPSession {
    /// Runs `body` with a new sender and closes it, also if `body` throws or the task is cancelled.
    ///
    /// The end of the scope sends the messages that the sender has accepted, as `withConnection` does for all senders.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the link.
    ///   - timeout: How long the peer may take to answer the attach; `nil`, the default, for `operationTimeout`.
    ///   - limit: How long the end of the scope may take; 30 seconds by default.
    ///   - body: The closure that uses the sender.
    /// - Throws: The same errors as `withConnection`.
    @discardableResult
    public func withSender<Result>(
        _ configuration: AMQPSender.Configuration,
        timeout: Duration? = nil,
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPSender) async throws -> Result
    ) async throws -> Result {
        let sender = try await self.openSender(configuration, timeout: timeout)
        return try await LifetimeScope.run(.link, within: limit) {
            try await body(sender)
        } end: {
            sender.error
        } close: {
            await self.connection.endScope(sender.closeRequest(), within: limit)
        }
    }

    /// Runs `body` with a new sender to an address, as ``withSender(_:timeout:closingWithin:_:)`` does.
    ///
    /// - Parameters:
    ///   - address: The name of the node; `nil` for the anonymous terminus, where each message names its own address in
    ///     `to`.
    ///   - timeout: How long the peer may take to answer the attach; `nil`, the default, for `operationTimeout`.
    ///   - limit: How long the end of the scope may take; 30 seconds by default.
    ///   - body: The closure that uses the sender.
    @discardableResult
    public func withSender<Result>(
        to address: String?,
        timeout: Duration? = nil,
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPSender) async throws -> Result
    ) async throws -> Result {
        let configuration = AMQPSender.Configuration(target: AMQPTarget(address: address))
        return try await self.withSender(configuration, timeout: timeout, closingWithin: limit, body)
    }

    /// Runs `body` with a new receiver and closes it, also if `body` throws or the task is cancelled.
    ///
    /// By default the link closes at once at the end of the scope, and the peer has `operationTimeout` to answer. With
    /// a limit, the end of the scope first waits until the application has settled its messages, as
    /// ``AMQPReceiver/close(within:)`` does. In a cancelled task the end lasts at most one second.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the link.
    ///   - timeout: How long the peer may take to answer the attach; `nil`, the default, for `operationTimeout`.
    ///   - limit: How long the end of the scope may take; with `.zero`, the default, it does not wait for the
    ///     application.
    ///   - body: The closure that uses the receiver.
    /// - Throws: The error of `body`. If `body` threw no error, the error of the close, or `AMQPError` with the number
    ///   of decisions that were not written or are in doubt.
    @discardableResult
    public func withReceiver<Result>(
        _ configuration: AMQPReceiver.Configuration,
        timeout: Duration? = nil,
        closingWithin limit: Duration = .zero,
        _ body: (AMQPReceiver) async throws -> Result
    ) async throws -> Result {
        let receiver = try await self.openReceiver(configuration, timeout: timeout)
        return try await LifetimeScope.run(.link, within: limit) {
            try await body(receiver)
        } end: {
            receiver.error
        } close: {
            await self.connection.endScope(receiver.closeRequest(), within: limit)
        }
    }

    /// Runs `body` with a new receiver from an address, as ``withReceiver(_:timeout:closingWithin:_:)`` does.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - window: How many messages or bytes may be on their way to the application.
    ///   - timeout: How long the peer may take to answer the attach; `nil`, the default, for `operationTimeout`.
    ///   - limit: How long the end of the scope may take; with `.zero`, the default, it does not wait for the
    ///     application.
    ///   - body: The closure that uses the receiver.
    @discardableResult
    public func withReceiver<Result>(
        from address: String,
        window: AMQPReceiver.Window = .automatic,
        timeout: Duration? = nil,
        closingWithin limit: Duration = .zero,
        _ body: (AMQPReceiver) async throws -> Result
    ) async throws -> Result {
        let configuration = AMQPReceiver.Configuration(source: AMQPSource(address: address), window: window)
        return try await self.withReceiver(configuration, timeout: timeout, closingWithin: limit, body)
    }
}
