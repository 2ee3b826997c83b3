// SPDX-License-Identifier: Apache-2.0

public import NIOCore

extension AMQPClient {
    /// Opens a sender to an address that outlives its connections.
    ///
    /// Connects if the client has not connected yet. Suspends until the peer has attached the link, also through an
    /// outage. Cancellation abandons the sender.
    ///
    /// - Parameters:
    ///   - address: The name of the node; `nil` for the anonymous terminus, where each message names its own node in
    ///     `to`.
    ///   - timeout: How long the call may take; with `nil`, the default, as long as the client attempts to connect.
    /// - Throws: `AMQPError` if the peer refuses the link, if the client ends, or at the timeout.
    public func sender(to address: String?, timeout: Duration? = nil) async throws(AMQPError) -> Sender {
        try await self.sender(Sender.Configuration(target: AMQPTarget(address: address)), timeout: timeout)
    }

    /// Opens a sender that outlives its connections; see ``sender(to:timeout:)``.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the sender and its links.
    ///   - timeout: How long the call may take; with `nil`, the default, as long as the client attempts to connect.
    public func sender(
        _ configuration: Sender.Configuration,
        timeout: Duration? = nil
    ) async throws(AMQPError) -> Sender {
        try configuration.validate()
        let core = ClientSender(
            configuration,
            name: self.linkName(configuration.link.name),
            self.supervisor.clock,
            self.configuration.connection.sendBudget
        )
        try await self.supervisor.add(core, timeout: timeout)
        return Sender(core, self)
    }

    /// Sends messages, on one link after another.
    ///
    /// The sender keeps each accepted message until the peer has settled it. If the link is lost first, the sender
    /// sends the message again. Messages leave in order: after a loss first messages in doubt, then unsent messages,
    /// then new messages. A message may arrive twice only if it was in doubt: ``Tracker/attempts`` is then 2 or more.
    ///
    /// A message that is sent settled leaves at most once. The sender sends it again only if no byte has left.
    ///
    /// The release of the last reference does not withdraw accepted messages.
    public final class Sender: Sendable {
        /// The settings of a sender.
        public struct Configuration: Hashable, Sendable {
            /// The settings of each link. All links have the same name, given here or generated once.
            ///
            /// ``AMQPSender/Configuration/overflow`` decides about a message that exceeds ``replayLimit``.
            public var link: AMQPSender.Configuration
            /// The treatment of messages in doubt when a link is lost: the sender sends them again by default.
            public var onLoss = LossPolicy.replay
            /// The most bytes of accepted, unsettled messages: 16 MiB by default.
            ///
            /// A message counts for its encoded bytes and 256 B. The sender accepts a larger message when it holds no
            /// other. Sending suspends at the limit, whether a connection is open or not. While a link is open, sending
            /// also suspends at the send limits of the link, its session and its connection.
            ///
            /// The same bytes also count in the ``AMQPConnection/Configuration/sendBudget`` of the connections. Sending
            /// suspends while that budget is full.
            public var replayLimit: AMQPByteCount = .mebibytes(16)
            /// How many consecutive losses may have the same message first in doubt: 3 by default, at least 1.
            ///
            /// The message then fails with ``AMQPCondition/poison`` and is in doubt, and the sender continues with the
            /// others.
            public var poisonLimit = 3
            /// Whether a message that may have arrived before carries the annotation `x-opt-replayed`; false by default.
            public var marksReplays = false

            /// Creates a configuration.
            ///
            /// - Parameter target: The target of the messages; the anonymous terminus by default.
            public init(target: AMQPTarget = .anonymous) { self.link = AMQPSender.Configuration(target: target) }
        }

        /// The treatment of sent, unsettled messages when a link is lost.
        public enum LossPolicy: Hashable, Sendable {
            /// The sender sends the messages again: none is lost, but one may arrive twice.
            case replay
            /// The messages fail with the fate ``AMQPError/Fate/inDoubt``: none arrives twice.
            case fail
        }

        let core: ClientSender
        private let client: AMQPClient

        init(_ core: ClientSender, _ client: AMQPClient) {
            self.core = core
            self.client = client
        }

        deinit {
            let (core, client) = (self.core, self.client)
            // The task retains the client until the messages have their fates.
            Task {
                await core.flush()
                await client.supervisor.remove(core, .senderIsClosed)
            }
        }

        /// The name of the links. Source: AMQP 1.0 §2.6.1.
        public var name: String { self.core.name }
        /// The current link; `nil` during an outage.
        public var link: AMQPSender? { self.core.link }
        /// The error that ended the sender for good; `nil` while it can continue.
        public var error: AMQPError? { self.core.end }
        /// The bytes of accepted, unsettled messages, with 256 B for each.
        public var unsettledBytes: AMQPByteCount { AMQPByteCount(self.core.bytes.used) }
        /// The fates of the messages that the application has handed over so far.
        public var fates: Fates { self.core.counts }

        // MARK: Sending

        /// Sends a message and waits for its outcome.
        ///
        /// Suspends for room, for the peer's credit and outcome, and through outages. If the task is cancelled before a
        /// link has accepted the message, the sender withdraws it: its ``AMQPError/fate`` is
        /// ``AMQPError/Fate/notSent``. Otherwise the fate is ``AMQPError/Fate/inDoubt``, and ``AMQPError/tracker`` can
        /// still await the outcome.
        ///
        /// - Parameters:
        ///   - message: The message.
        ///   - settled: Whether to send it settled; `nil` for the link's settle mode.
        ///   - options: The delivery-tag, the message-format and the time limit of the message. The limit, and the
        ///     ``AMQPHeader/timeToLive`` of the message, run from the call and through an outage.
        /// - Returns: The receiver's decision.
        /// - Throws: `AMQPError` if the message cannot be encoded, has expired or is poison, or if the sender ends.
        @discardableResult
        public func send(
            _ message: AMQPMessage,
            settled: Bool? = nil,
            options: AMQPSendOptions = .init()
        ) async throws(AMQPError) -> AMQPOutcome {
            try await self.core.settlement(of: self.enqueue(message, settled: settled, options: options))
        }

        /// Sends a message and waits for its outcome, for a limited time, which includes outages. Otherwise the same as
        /// ``send(_:settled:options:)``.
        ///
        /// - Parameters:
        ///   - message: The message.
        ///   - settled: Whether to send it settled; `nil` for the link's settle mode.
        ///   - options: The delivery-tag, the message-format and the time limit of the message.
        ///   - timeout: How long the call may take.
        /// - Throws: The same errors, and ``AMQPCondition/timeout`` at the limit. The ``AMQPError/fate`` is the same as
        ///   after a cancellation.
        @discardableResult
        public func send(
            _ message: AMQPMessage,
            settled: Bool? = nil,
            options: AMQPSendOptions = .init(),
            timeout: Duration
        ) async throws(AMQPError) -> AMQPOutcome {
            let (result, isLate) = await withLimit(timeout, self.core.clock) { () async throws(AMQPError) in
                try await self.send(message, settled: settled, options: options)
            }
            guard isLate, case .failure(var error) = result else { return try result.get() }
            error.condition = .timeout
            error.detail = "the message was not settled within \(timeout)"
            throw error
        }

        /// Accepts a message, and suspends only until it fits.
        ///
        /// - Parameters:
        ///   - message: The message.
        ///   - settled: Whether to send it settled; `nil` for the link's settle mode.
        ///   - options: The delivery-tag, the message-format and the time limit of the message.
        /// - Returns: The tracker, which can await the outcome.
        /// - Throws: `AMQPError` if the message cannot be encoded, the sender has ended, or the task was cancelled.
        ///   Also if the message does not fit and the overflow policy is to fail. In each case the message was not
        ///   sent.
        @discardableResult
        public func enqueue(
            _ message: AMQPMessage,
            settled: Bool? = nil,
            options: AMQPSendOptions = .init()
        ) async throws(AMQPError) -> Tracker {
            if let tracker = try self.core.sendOnLink(message, settled: settled, options, mayWait: true) {
                return tracker
            }
            let encoded = try Self.encoded(message)
            return try await self.core.enqueue(self.core.message(encoded, settled, options, header: message.header))
        }

        /// Accepts an encoded message. Otherwise the same as ``enqueue(_:settled:options:)``.
        ///
        /// - Parameters:
        ///   - encoded: The sections of the message.
        ///   - settled: Whether to send it settled; `nil` for the link's settle mode.
        ///   - options: The delivery-tag, the message-format and the time limit of the message.
        @discardableResult
        public func enqueue(
            encoded: ByteBuffer,
            settled: Bool? = nil,
            options: AMQPSendOptions = .init()
        ) async throws(AMQPError) -> Tracker {
            if let tracker = try self.core.sendOnLink(encoded: encoded, settled: settled, options, mayWait: true) {
                return tracker
            }
            return try await self.core.enqueue(self.core.message(encoded, settled, options))
        }

        /// Accepts a message if it fits now. Never suspends.
        ///
        /// - Parameters:
        ///   - message: The message.
        ///   - settled: Whether to send it settled; `nil` for the link's settle mode.
        ///   - options: The delivery-tag, the message-format and the time limit of the message.
        /// - Returns: The tracker, which can await the outcome.
        /// - Throws: `AMQPError` with ``AMQPCondition/wouldBlock`` if the message does not fit. Otherwise the same
        ///   errors as ``enqueue(_:settled:options:)``.
        @discardableResult
        public func trySend(
            _ message: AMQPMessage,
            settled: Bool? = nil,
            options: AMQPSendOptions = .init()
        ) throws(AMQPError) -> Tracker {
            if let tracker = try self.core.sendOnLink(message, settled: settled, options, mayWait: false) {
                return tracker
            }
            let encoded = try Self.encoded(message)
            return try self.core.trySend(self.core.message(encoded, settled, options, header: message.header))
        }

        /// Accepts an encoded message if it fits now. Otherwise the same as ``trySend(_:settled:options:)``.
        ///
        /// - Parameters:
        ///   - encoded: The sections of the message.
        ///   - settled: Whether to send it settled; `nil` for the link's settle mode.
        ///   - options: The delivery-tag, the message-format and the time limit of the message.
        @discardableResult
        public func trySend(
            encoded: ByteBuffer,
            settled: Bool? = nil,
            options: AMQPSendOptions = .init()
        ) throws(AMQPError) -> Tracker {
            if let tracker = try self.core.sendOnLink(encoded: encoded, settled: settled, options, mayWait: false) {
                return tracker
            }
            return try self.core.trySend(self.core.message(encoded, settled, options))
        }

        private static func encoded(_ message: AMQPMessage) throws(AMQPError) -> ByteBuffer {
            do throws(AMQPError) { return try message.encoded() } catch { throw error.concerning(.notSent) }
        }

        /// Sends the accepted messages, waits for their outcomes, and closes the sender, within a limit.
        ///
        /// The sender accepts no message after the call. During an outage it waits for the next connection, within the
        /// limit. Cancellation ends the remaining time.
        ///
        /// - Parameter limit: How long the whole close may take.
        /// - Returns: The messages that were not sent, and those in doubt.
        @discardableResult
        public func close(within limit: Duration = .seconds(30)) async -> AMQPCloseResult {
            await self.client.supervisor.close(self.core, within: limit)
        }
    }

    /// Tracks a message that a ``Sender`` has accepted.
    ///
    /// Keep the tracker to await the outcome, or drop it: the message is sent either way.
    public struct Tracker: Hashable, Sendable {
        let tracker: AMQPTracker
        /// The number of the message; `nil` if the sender has not accepted it.
        let sequence: UInt64?

        /// The outcome of the message, or the error in its place; `nil` while there is neither.
        public var result: Result<AMQPOutcome, AMQPError>? { self.tracker.result }

        /// How often the message may have been sent: more than 1 if it was in doubt and the sender sent it again.
        public var attempts: Int { self.tracker.reply.attempts }

        /// Suspends until the message is settled, or has another fate.
        ///
        /// Cancellation ends only the wait and does not affect the message.
        ///
        /// - Throws: `AMQPError` with the ``AMQPError/fate`` of the message. ``AMQPCondition/cancelled`` if the task was
        ///   cancelled.
        public func outcome() async throws(AMQPError) -> AMQPOutcome { try await self.tracker.outcome() }

        /// Calls `body` once with the outcome of the message or the error in its place; see
        /// ``AMQPTracker/whenSettled(_:)``.
        ///
        /// - Parameter body: The callback. It must be short and must not block.
        public func whenSettled(_ body: @escaping @Sendable (Result<AMQPOutcome, AMQPError>) -> Void) {
            self.tracker.whenSettled(body)
        }

        /// Returns whether two values are the same tracker.
        public static func == (left: Self, right: Self) -> Bool { left.tracker == right.tracker }

        /// Hashes the identity of the tracker.
        public func hash(into hasher: inout Hasher) { hasher.combine(self.tracker) }
    }

    /// Returns the given name of a link, or generates one.
    func linkName(_ name: String?) -> String { name ?? "client-\(UInt64.random(in: .min ... .max))" }
}

extension AMQPClient.Sender.Configuration {
    var limits: ClientSender.Queue.Limits {
        ClientSender.Queue.Limits(
            bytes: self.replayLimit.bytes,
            replays: self.onLoss == .replay,
            poison: self.poisonLimit
        )
    }

    func validate() throws(AMQPError) {
        try self.link.validate()
        guard self.poisonLimit >= 1 else {
            throw .client(.invalidArgument, "poisonLimit is \(self.poisonLimit): it must be at least 1")
        }
    }
}
