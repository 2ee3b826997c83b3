// SPDX-License-Identifier: Apache-2.0

extension AMQPSender {
    /// The settings of a sender.
    public struct Configuration: Hashable, Sendable {
        /// The name of the link, unique between the two containers and this direction; if `nil`, the library generates
        /// one.
        public var name: String?
        /// The target of the messages.
        public var target: AMQPTarget
        /// The source of the messages. Only the peer uses it.
        public var source = AMQPSource()
        /// Whether messages are sent settled.
        public var settleMode: AMQPSenderSettleMode = .unsettled
        /// The time at which the receiver settles.
        public var receiverSettleMode: AMQPReceiverSettleMode = .first
        /// The maximum number of sent messages that the peer may leave unsettled, whatever its credit: 65,536 by
        /// default; `nil` for no limit.
        ///
        /// Each unsettled message uses about 800 bytes. At the limit, further messages wait within the send limits,
        /// blocked by ``AMQPBlockCause/unsettled``. With the ``settleMode`` `mixed` the limit also delays settled
        /// messages, because messages are sent in order. With `settled` it has no effect.
        public var unsettledLimit: Int? = 65_536
        /// The properties of the link that this side announces to the peer.
        public var properties: AMQPMap = [:]
        /// The extensions that this side offers on the link. Source: AMQP 1.0 §2.7.3.
        public var offeredCapabilities: [AMQPSymbol] = []
        /// The extensions that this side would like to use on the link, and that the peer may offer in turn.
        ///
        /// Source: AMQP 1.0 §2.7.3.
        public var desiredCapabilities: [AMQPSymbol] = []
        /// The limit for accepted bytes of this link that are not yet written to the socket; if `nil`, only the
        /// session's limit applies.
        public var sendLimit: AMQPSendLimit?
        /// The policy of `send` and `enqueue` for a message without room.
        public var overflow: AMQPOverflow = .suspend
        /// The rate at which messages are sent; `nil` for no limit. See ``AMQPSender/setRateLimit(_:)``.
        ///
        /// Messages that the rate delays wait within the send limits. A large message is sent in pieces.
        public var rateLimit: AMQPRateLimit?

        /// The priority of the messages among the senders of the connection, from 0 to 9, the highest; 4 by default.
        ///
        /// A sender overtakes senders of lower priorities between two slices of their messages, without waiting for the
        /// end of a message; see ``AMQPConnection/Configuration/lowPriorityShare``. The priority in a message's header
        /// is different: only the peer applies it.
        public var priority = 4
        /// The relative share of the sender among senders of its priority that all have messages waiting: 1 to 100, 1
        /// by default.
        public var weight = 1
        /// The most bytes of the link's memory for messages that their holder keeps until their settlement; `nil`
        /// without a holder. A holder counts its messages in the connection's send budget, and the link does not.
        var keptLimit: Int?

        /// Creates a configuration.
        ///
        /// - Parameter target: The target of the messages; the anonymous terminus by default.
        public init(target: AMQPTarget = .anonymous) {
            self.target = target
        }

        var capabilities: LinkCapabilities {
            LinkCapabilities(offered: self.offeredCapabilities, desired: self.desiredCapabilities)
        }

        func validate() throws(AMQPError) {
            try CheckedText.check(self.offeredCapabilities, "offeredCapabilities: the symbol")
            try CheckedText.check(self.desiredCapabilities, "desiredCapabilities: the symbol")
            guard (0...9).contains(self.priority) else {
                throw AMQPError(
                    condition: .invalidArgument,
                    detail: "priority is \(self.priority): it must be from 0 to 9"
                )
            }
            guard (1...100).contains(self.weight) else {
                throw AMQPError(
                    condition: .invalidArgument,
                    detail: "weight is \(self.weight): it must be from 1 to 100"
                )
            }
            if let limit = self.unsettledLimit, limit < 1 {
                throw AMQPError(
                    condition: .invalidArgument,
                    detail: "unsettledLimit is \(limit): it must be at least 1, or nil"
                )
            }
            try self.sendLimit?.validate()
            try self.rateLimit?.validate()
        }
    }
}
