extension AMQPReceiver {
    /// How many messages may be on their way to the application.
    public struct Window: Hashable, Sendable {
        let messages: Int?

        /// Credit is granted so that at most so many messages are on their way, and topped up when half is free.
        public static func messages(_ count: Int) -> Self { Self(messages: Swift.max(1, count)) }
        /// The application grants every credit with ``AMQPReceiver/grant(credit:)``.
        public static let manual = Self(messages: nil)
    }

    /// When a message gives its place in the window back.
    public enum CreditReturn: Hashable, Sendable {
        /// When the application settles it, so that the window bounds the work in progress.
        case onSettlement
        /// When the application takes it from the receiver.
        case onReceipt
    }

    /// What a receiver is opened with.
    public struct Configuration: Hashable, Sendable {
        /// The name of the link, unique between the two containers and this direction; made up if nil.
        public var name: String?
        /// Where the messages come from.
        public var source: AMQPSource
        /// Where the messages go to: of use to the peer only.
        public var target = AMQPTarget()
        /// How many messages may be on their way to the application.
        public var window: Window = .messages(256)
        /// When a message gives its place in the window back.
        public var creditReturn: CreditReturn = .onSettlement
        /// Whether the sender is asked to settle its messages itself.
        public var senderSettleMode: AMQPSenderSettleMode = .mixed
        /// When this side settles.
        public var settleMode: AMQPReceiverSettleMode = .first
        /// The largest message that is taken; nil for no limit. A larger one closes the link.
        public var maxMessageSize: ByteCount? = .mebibytes(64)
        /// Properties of the link, told to the peer.
        public var properties: AMQPMap = [:]

        /// Makes a configuration.
        ///
        /// - Parameters:
        ///   - source: Where the messages come from.
        ///   - window: How many messages may be on their way to the application.
        public init(source: AMQPSource = AMQPSource(), window: Window = .messages(256)) {
            self.source = source
            self.window = window
        }
    }
}
