// SPDX-License-Identifier: Apache-2.0

extension AMQPClient {
    /// Opens a receiver from an address that outlives its connections.
    ///
    /// Connects if the client has not connected yet. Suspends until the peer has attached the link, also through an
    /// outage. Cancellation abandons the receiver.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - window: How many messages or bytes may be on their way to the application.
    ///   - timeout: How long the call may take; with `nil`, the default, as long as the client attempts to connect.
    /// - Throws: `AMQPError` if the peer refuses the link, if the client ends, or at the timeout.
    public func receiver(
        from address: String,
        window: AMQPReceiver.Window = .automatic,
        timeout: Duration? = nil
    ) async throws(AMQPError) -> Receiver {
        try await self.receiver(.init(source: AMQPSource(address: address), window: window), timeout: timeout)
    }

    /// Opens a receiver that outlives its connections; see ``receiver(from:window:timeout:)``.
    ///
    /// - Parameters:
    ///   - configuration: The settings of each link. All links have the same name, given here or generated once. The
    ///     receiver itself handles the messages that a lost link leaves, so
    ///     ``AMQPReceiver/Configuration/deliversUnsettledAfterEnd`` has no effect.
    ///   - timeout: How long the call may take; with `nil`, the default, as long as the client attempts to connect.
    ///   - change: Changes the settings before each attach except the first. For example, it moves the offset of a
    ///     stream behind the last handled message.
    public func receiver(
        _ configuration: AMQPReceiver.Configuration,
        timeout: Duration? = nil,
        reattaching change: (@Sendable (inout AMQPReceiver.Configuration) -> Void)? = nil
    ) async throws(AMQPError) -> Receiver {
        try configuration.validate()
        let name = self.linkName(configuration.name)
        let core = ClientReceiver(configuration, name: name, self.supervisor.clock, reattaching: change)
        try await self.supervisor.add(core, timeout: timeout)
        return Receiver(core, self)
    }

    /// Receives messages from one link after another: an asynchronous sequence that continues after a loss.
    ///
    /// When a link is lost, waiting tasks keep waiting, in their order. The receiver drops and counts unsettled
    /// messages that no task has received; they return to their source. A decision about a message of a lost link is
    /// ``AMQPSettlement/stale``, and the peer sends that message again.
    ///
    /// Each new link begins with the credit of its window. A paused receiver remains paused. With
    /// ``AMQPReceiver/Window/manual`` the receiver grants unused credit again.
    ///
    /// The release of the last reference closes the receiver.
    public final class Receiver: AsyncSequence, Sendable {
        /// A received message.
        public typealias Element = AMQPDelivery
        /// The error that ends the sequence.
        public typealias Failure = AMQPError

        let core: ClientReceiver
        private let client: AMQPClient

        init(_ core: ClientReceiver, _ client: AMQPClient) {
            self.core = core
            self.client = client
        }

        deinit {
            let (core, client) = (self.core, self.client)
            Task { await client.supervisor.remove(core, .receiverIsClosed) }
        }

        /// The name of the links. Source: AMQP 1.0 §2.6.1.
        public var name: String { self.core.name }
        /// The current link; `nil` during an outage.
        public var link: AMQPReceiver? { self.core.link }
        /// The error that ended the receiver for good; `nil` while it can continue.
        public var error: AMQPError? { self.core.end }
        /// The number of unsettled messages that were dropped because their link was lost before a task received them.
        public var droppedDeliveries: Int { self.core.dropped }
        /// Whether the receiver is paused with ``pause()``.
        public var isPaused: Bool { self.core.isPaused }

        // MARK: Receiving messages

        /// Returns the next message, and suspends until there is one, also through outages.
        ///
        /// A cancelled task receives no further message; the messages stay for other tasks.
        ///
        /// - Returns: The delivery; `nil` if this side has closed the receiver or the client.
        /// - Throws: `AMQPError` if an error ended the receiver for good, or the task was cancelled.
        public func next() async throws(AMQPError) -> AMQPDelivery? { try await self.core.next() }

        /// Returns the next message if one has arrived. Never suspends, and works in a cancelled task too.
        public func poll() -> AMQPDelivery? { self.core.poll() }

        /// Returns up to `count` messages. Suspends until a message has arrived, and returns all arrived messages up to
        /// `count`.
        ///
        /// - Parameter count: The most messages to return, at least 1.
        /// - Returns: The deliveries in order; none if this side has closed the receiver or the client.
        /// - Throws: The same errors as ``next()``, and ``AMQPCondition/invalidArgument`` for a count below 1.
        public func nextBatch(max count: Int) async throws(AMQPError) -> [AMQPDelivery] {
            guard count > 0 else {
                throw .client(.invalidArgument, "a batch of \(count) messages is empty: max must be at least 1")
            }
            return try await self.core.take(max: count)
        }

        /// Returns the next message, or `nil` if the peer has none; see ``AMQPReceiver/receive(timeout:)``.
        ///
        /// A loss does not extend the timeout.
        ///
        /// - Parameter timeout: How long to wait for a message before asking the peer.
        /// - Throws: The same errors as ``next()``. ``AMQPCondition/timeout`` if a lost link is not attached again in
        ///   time, or if the peer does not answer.
        public func receive(timeout: Duration) async throws(AMQPError) -> AMQPDelivery? {
            let limit = self.client.configuration.connection.operationTimeout
            return try await self.core.receive(timeout: timeout, drainingWithin: limit)
        }

        /// Grants credit for more messages, for a receiver with ``AMQPReceiver/Window/manual``.
        ///
        /// - Parameter credit: The number of further messages that the peer may send; a number below 1 does nothing.
        public func grant(credit: Int) { self.core.grant(credit) }

        /// Stops the peer, and returns when no more messages can arrive; see ``AMQPReceiver/pause()``.
        ///
        /// During an outage it returns at once. The next link buffers messages that arrive before it is paused.
        ///
        /// - Throws: The same errors as ``AMQPReceiver/pause()``, except for the loss of the link.
        public func pause() async throws(AMQPError) { try await self.core.pause() }

        /// Grants credit again after ``pause()``. Never suspends.
        public func resume() { self.core.resume() }

        /// Sets or removes the rate limit for this link and future ones. Never suspends.
        ///
        /// - Parameter limit: The limit from now on; `nil` for none.
        /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument`` if a rate is not positive and finite.
        public func setRateLimit(_ limit: AMQPRateLimit?) throws(AMQPError) { try self.core.setRate(limit) }

        /// Receives messages one by one.
        public struct AsyncIterator: AsyncIteratorProtocol {
            fileprivate let receiver: Receiver

            /// Returns the next message; see ``AMQPClient/Receiver/next()``.
            public func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> AMQPDelivery? {
                try await self.receiver.next()
            }
        }

        /// Returns the messages one by one. Leaving the loop leaves the receiver open.
        public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(receiver: self) }

        // MARK: Closing

        /// Closes the receiver in order; see ``AMQPReceiver/close(within:)``.
        ///
        /// - Parameter limit: How long the whole close may take. With zero, the default, it does not wait for the
        ///   application.
        /// - Returns: The unfinished work, and the reason if the close was not orderly.
        @discardableResult
        public func close(within limit: Duration = .zero) async -> AMQPCloseResult {
            await self.client.supervisor.close(self.core, within: limit)
        }
    }
}
