extension AMQPReceiver {
    /// How much may be on its way to the application: what credit is granted for.
    ///
    /// Source: AMQP 1.0 §2.6.7.
    public struct Window: Hashable, Sendable {
        let policy: CreditPolicy

        /// As ``automatic(budget:)``, with 16 MiB: the default.
        public static let automatic = Self.automatic(budget: .mebibytes(16))
        /// Credit is granted for as many messages as are worth while, and for so many bytes at most.
        ///
        /// The number of messages is learned from how fast the application gives messages back, how long it handles one, and how
        /// far away the peer is: enough to keep the application busy, and not so many that it keeps them from other
        /// consumers. It is 64 at first, and from 2 to 65,536.
        ///
        /// The bytes are counted as with ``bytes(_:)``, and no message is too large for them: where nothing else waits to be taken, an
        /// application that waits for a message gets one of any size up to ``Configuration/maxMessageSize``. It is never left
        /// without credit while it waits, however many messages it holds that are not settled.
        public static func automatic(budget: AMQPByteCount) -> Self { Self(policy: .automatic(budget.bytes)) }
        /// Credit is granted so that at most so many messages are on their way, and topped up when a quarter is free.
        public static func messages(_ count: Int) -> Self { Self(policy: .messages(Swift.max(1, count))) }
        /// Credit is granted so that at most so many bytes are on their way, by the size of the largest of the latest
        /// messages. A message counts for 256 bytes at least, and so does a window.
        ///
        /// The number is never exceeded here: of messages that are larger than those before them, what has no room waits
        /// within the session's `incomingCapacity`, which is then not there for the other links of the session. When the link
        /// ends, settled messages among those exceed the window: they are kept, because no one sends them again. A single
        /// message that is larger than the window closes the link with ``AMQPCondition/linkMessageSizeExceeded``.
        public static func bytes(_ count: AMQPByteCount) -> Self { Self(policy: .bytes(count.bytes)) }
        /// One message at a time, and credit only when a task waits for it: nothing is fetched ahead.
        ///
        /// The credit of a wait that is cancelled stays: a message that comes of it is kept for the next call.
        /// ``AMQPReceiver/receive(timeout:)`` takes it back.
        public static let onDemand = Self(policy: .onDemand)
        /// More credit than the peer can use: messages that nobody takes are kept without a limit.
        public static let unbounded = Self(policy: .unbounded)
        /// The application grants every credit with ``AMQPReceiver/grant(credit:)``.
        public static let manual = Self(policy: .manual)
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
        /// How much may be on its way to the application.
        public var window: Window = .automatic
        /// When a message gives its place in the window back.
        public var creditReturn: CreditReturn = .onSettlement
        /// Whether the sender is asked to settle its messages itself.
        public var senderSettleMode: AMQPSenderSettleMode = .mixed
        /// When this side settles.
        public var settleMode: AMQPReceiverSettleMode = .first
        /// The most messages that may be unsettled with the ``settleMode`` `second`: 8,192; nil for no limit.
        ///
        /// In that mode each message takes about 800 bytes until the sender settles it, also after the application has decided.
        /// The limit counts outstanding credit, messages without a decision, and decided ones that the sender has not settled.
        /// At the limit the receiver grants no credit, whatever the ``window``, and the link is blocked by
        /// ``AMQPBlockCause/unsettled``. The receiver grants credit again when the sender settles.
        public var unsettledLimit: Int? = 8_192
        /// How fast messages may come; nil for as fast as they can. See ``AMQPReceiver/setRateLimit(_:)``.
        ///
        /// Credit is kept back, so that messages wait at the peer and not here. The bytes of a message count by the size that is expected
        /// when its credit is granted, and by its true size when it has come. Credit that is granted by hand is not limited.
        public var rateLimit: AMQPRateLimit?
        /// How long the peer is left untold that a message was accepted or released, so that it can be told of many in one range.
        ///
        /// Told at once are the decisions about the only messages that the application holds, a run of 64, and all that is
        /// left at a pause and before the link ends. Behind a message that is not decided a decision waits five times as long at
        /// most. Credit does not wait for it, and the peer may so count more unsettled messages than the window. Zero tells each batch of
        /// decisions at once. An hour counts as the most.
        public var settlementDelay: Duration = .milliseconds(5)
        /// The largest message that is taken; nil for no limit. A larger one closes the link.
        public var maxMessageSize: AMQPByteCount? = .mebibytes(64)
        /// Whether messages of binary data are handed over when their body begins, and not when all of them has come.
        ///
        /// They are then never held whole: read ``AMQPDelivery/body``. Set ``maxMessageSize`` to nil for messages of any size.
        public var streamsMessages = false
        /// The bytes of streamed messages that may wait to be read. What has no room waits within the session's
        /// `incomingCapacity`, and then the other links of the session wait too.
        public var streamBuffer: AMQPByteCount = .mebibytes(1)
        /// Whether messages are still handed out when the link has ended, although no decision about them reaches the sender.
        ///
        /// `nil`, the default, is `true` on a link that the peer attached and this side accepted, and `false` on a link that
        /// this side attached. The value matters when the peer, the session or the connection ends the link. With `false`,
        /// unsettled messages that no task has taken go back to their source, and one log line counts them. With `true` the
        /// application gets them first, and the sender may send them again. Settled messages are handed out in both cases.
        public var deliversUnsettledAfterEnd: Bool?
        /// Properties of the link, told to the peer.
        public var properties: AMQPMap = [:]
        /// The extensions that this side offers on the link. Source: AMQP 1.0 §2.7.3.
        public var offeredCapabilities: [AMQPSymbol] = []
        /// The extensions that this side would like to use on the link, and that the peer may offer in turn.
        ///
        /// Source: AMQP 1.0 §2.7.3.
        public var desiredCapabilities: [AMQPSymbol] = []

        /// Makes a configuration.
        ///
        /// - Parameters:
        ///   - source: Where the messages come from.
        ///   - window: How much may be on its way to the application.
        public init(source: AMQPSource = AMQPSource(), window: Window = .automatic) {
            self.source = source
            self.window = window
        }

        var capabilities: LinkCapabilities {
            LinkCapabilities(offered: self.offeredCapabilities, desired: self.desiredCapabilities)
        }

        func validate() throws(AMQPError) {
            try ProtonText.check(self.offeredCapabilities, "offeredCapabilities: the symbol")
            try ProtonText.check(self.desiredCapabilities, "desiredCapabilities: the symbol")
            if let limit = self.unsettledLimit, limit < 1 {
                throw AMQPError(
                    condition: .invalidArgument,
                    detail: "unsettledLimit is \(limit): it must be at least 1, or nil"
                )
            }
            try self.rateLimit?.validate()
        }
    }
}
