extension AMQPSender {
    /// What a sender is opened with.
    public struct Configuration: Hashable, Sendable {
        /// The name of the link, unique between the two containers and this direction; made up if nil.
        public var name: String?
        /// Where the messages go to.
        public var target: AMQPTarget
        /// Where the messages come from: of use to the peer only.
        public var source = AMQPSource()
        /// Whether messages are sent settled.
        public var settleMode: AMQPSenderSettleMode = .unsettled
        /// When the receiver settles.
        public var receiverSettleMode: AMQPReceiverSettleMode = .first
        /// The most sent messages that the peer may leave unsettled, whatever its credit: 65,536 by default; nil for no limit.
        ///
        /// Each takes about 800 bytes until it is settled. Further messages wait within the send limits, blocked by
        /// ``AMQPBlockCause/unsettled``. With the ``settleMode`` `mixed` the limit also holds back settled messages, because
        /// messages leave in order. With `settled` it has no effect.
        public var unsettledLimit: Int? = 65_536
        /// Properties of the link, told to the peer.
        public var properties: AMQPMap = [:]
        /// The extensions that this side offers on the link. Source: AMQP 1.0 §2.7.3.
        public var offeredCapabilities: [AMQPSymbol] = []
        /// The extensions that this side would like to use on the link, and that the peer may offer in turn.
        ///
        /// Source: AMQP 1.0 §2.7.3.
        public var desiredCapabilities: [AMQPSymbol] = []
        /// The bytes that may be accepted on this link and not yet written to the socket; nil for the session's limit alone.
        public var sendLimit: AMQPSendLimit?
        /// What `send` and `enqueue` do with a message for which there is no room.
        public var overflow: AMQPOverflow = .suspend
        /// How fast the messages leave; nil for as fast as they can. See ``AMQPSender/setRateLimit(_:)``.
        ///
        /// What the rate holds back waits within the send limits. A large message leaves in pieces.
        public var rateLimit: AMQPRateLimit?

        /// How urgent the messages are beside those of other senders of the connection: 0 to 9, the highest.
        ///
        /// A sender goes before those of lower priorities, between two slices of their messages and not behind them; see
        /// ``AMQPConnection/Configuration/lowPriorityShare``. This is not the priority in a message's header, which is the
        /// peer's to act on.
        public var priority = 4
        /// How much the sender gets beside others of its priority, when all have more to send: 1 to 100.
        public var weight = 1

        /// Makes a configuration.
        ///
        /// - Parameter target: Where the messages go to; the anonymous terminus if left out.
        public init(target: AMQPTarget = .anonymous) {
            self.target = target
        }

        var capabilities: LinkCapabilities {
            LinkCapabilities(offered: self.offeredCapabilities, desired: self.desiredCapabilities)
        }

        func validate() throws(AMQPError) {
            try ProtonText.check(self.offeredCapabilities, "offeredCapabilities: the symbol")
            try ProtonText.check(self.desiredCapabilities, "desiredCapabilities: the symbol")
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
