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
        /// Properties of the link, told to the peer.
        public var properties: AMQPMap = [:]
        /// The bytes that may be accepted on this link and not yet written to the socket; nil for the session's limit alone.
        public var sendLimit: AMQPSendLimit?

        /// Makes a configuration.
        ///
        /// - Parameter target: Where the messages go to; the anonymous terminus if left out.
        public init(target: AMQPTarget = .anonymous) {
            self.target = target
        }
    }
}
