// SPDX-License-Identifier: Apache-2.0

public import NIOCore

extension AMQPConsumer {
    /// A message for the handler of a consumer.
    ///
    /// When the handler returns, the consumer accepts the message; when it throws, the message returns as failed. A
    /// handler can decide itself, with ``accept()``, ``reject(_:)``, ``release()`` or ``modify(_:)``. The consumer then
    /// only waits until the handler returns. Decisions after the return have no effect.
    public struct Delivery: Sendable {
        private let delivery: AMQPDelivery
        private let runner: ConsumerRunner
        private let id: ConsumerState.ID
        /// The number of this attempt, from 1.
        public let attempt: Int
        /// Whether the consumer rejects the message if this attempt fails.
        public let isLastAttempt: Bool

        init(_ delivery: AMQPDelivery, _ runner: ConsumerRunner, _ id: ConsumerState.ID, attempt: Int, isLast: Bool) {
            self.delivery = delivery
            self.runner = runner
            self.id = id
            self.attempt = attempt
            self.isLastAttempt = isLast
        }

        // MARK: The message

        /// The encoded message; see ``AMQPDelivery/payload``.
        public var payload: ByteBuffer { self.delivery.payload }
        /// Decodes the message at every call; see ``AMQPDelivery/decodeMessage()``.
        ///
        /// - Throws: `AMQPError` with ``AMQPCondition/decodeError`` when the peer's bytes are not a message.
        public func decodeMessage() throws(AMQPError) -> AMQPMessage { try self.delivery.decodeMessage() }
        /// The delivery-tag. Source: AMQP 1.0 §2.8.7.
        public var tag: [UInt8] { self.delivery.tag }
        /// The message-format. Source: AMQP 1.0 §2.7.5.
        public var messageFormat: UInt32 { self.delivery.messageFormat }
        /// Whether the sender had settled the message. Then no decision reaches the sender, and the consumer handles a
        /// failed message again in place.
        public var isSettled: Bool { self.delivery.isSettled }
        /// Whether the consumer delivers the message while its body arrives: see
        /// ``AMQPReceiver/Configuration/streamsMessages``.
        public var isStreamed: Bool { self.delivery.isStreamed }
        /// The body of binary data; see ``AMQPDelivery/body``.
        public var body: AMQPDelivery.Body { self.delivery.body }

        // MARK: Decisions

        /// Accepts the message before the handler returns.
        ///
        /// - Returns: ``AMQPSettlement/stale`` if the link has ended, or if the message is already decided. An earlier
        ///   call, the timeout and the end of the consumer decide a message.
        @discardableResult
        public func accept() -> AMQPSettlement { self.decide { $0.accept() } }

        /// Rejects the message as invalid; see ``AMQPDelivery/reject(_:)``.
        ///
        /// - Parameter error: The reason, for the sender.
        /// - Returns: The same as ``accept()``.
        @discardableResult
        public func reject(_ error: AMQPError? = nil) -> AMQPSettlement { self.decide { $0.reject(error) } }

        /// Releases the message: the application did not and will not process it.
        ///
        /// - Returns: The same as ``accept()``.
        @discardableResult
        public func release() -> AMQPSettlement { self.decide { $0.release() } }

        /// Returns the message to its source with changes; see ``AMQPDelivery/modify(_:)``.
        ///
        /// - Parameter changes: The changes.
        /// - Returns: The same as ``accept()``.
        @discardableResult
        public func modify(_ changes: AMQPModified) -> AMQPSettlement { self.decide { $0.modify(changes) } }

        private func decide(_ decision: (AMQPDelivery) -> AMQPSettlement) -> AMQPSettlement {
            self.runner.decide(self.id, attempt: self.attempt, decision)
        }
    }
}
