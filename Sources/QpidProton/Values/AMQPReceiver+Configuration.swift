// SPDX-License-Identifier: Apache-2.0

extension AMQPReceiver {
    /// How many messages or bytes may be on their way to the application: the basis for granting credit.
    ///
    /// Source: AMQP 1.0 §2.6.7.
    public struct Window: Hashable, Sendable {
        let policy: CreditPolicy

        /// The default: ``automatic(budget:)`` with 16 MiB.
        public static let automatic = Self.automatic(budget: .mebibytes(16))
        /// Grants credit for as many messages as keep the application busy, within a budget in bytes.
        ///
        /// The receiver tunes the number of messages to three measures. They are the rate at which the application
        /// frees places, the time of one message, and the distance of the peer. The number is large enough to keep the
        /// application busy, and small enough to leave messages for other consumers. It is 64 at first, and from 2 to
        /// 65,536.
        ///
        /// The bytes count as with ``bytes(_:)``, but no message is too large for the budget. If no other message is
        /// waiting, a waiting application gets one of any size up to ``Configuration/maxMessageSize``. While it waits
        /// it always has credit, however many unsettled messages it holds.
        public static func automatic(budget: AMQPByteCount) -> Self { Self(policy: .automatic(budget.bytes)) }
        /// Grants credit so that at most that many messages are on their way. Tops up the credit when a quarter is
        /// free.
        public static func messages(_ count: Int) -> Self { Self(policy: .messages(Swift.max(1, count))) }
        /// Grants credit so that at most that many bytes are on their way, by the size of the largest of the latest
        /// messages.
        ///
        /// A message counts for at least 256 bytes, and a window is at least 256 bytes.
        ///
        /// The receiver never holds more bytes than this. If messages are larger than those before them, the excess
        /// waits within the session's `incomingCapacity`. That capacity is then not available to the other links of the
        /// session. When the link ends, settled messages among that excess exceed the window: the receiver keeps them,
        /// because no one sends them again. A single message that is larger than the window closes the link with
        /// ``AMQPCondition/linkMessageSizeExceeded``.
        public static func bytes(_ count: AMQPByteCount) -> Self { Self(policy: .bytes(count.bytes)) }
        /// Grants credit for one message at a time, and only when a task waits for it: the receiver fetches nothing
        /// ahead.
        ///
        /// If a wait is cancelled, its credit stays: a message that arrives for it is kept for the next call.
        /// ``AMQPReceiver/receive(timeout:)`` returns that credit.
        public static let onDemand = Self(policy: .onDemand)
        /// Grants more credit than the peer can use: the receiver keeps unread messages without a limit.
        public static let unbounded = Self(policy: .unbounded)
        /// The application grants every credit with ``AMQPReceiver/grant(credit:)``.
        public static let manual = Self(policy: .manual)
    }

    /// The time at which a message frees its place in the window.
    public enum CreditReturn: Hashable, Sendable {
        /// When the application settles it, so that the window bounds the work in progress.
        case onSettlement
        /// When a task receives it.
        case onReceipt
    }

    /// The settings of a receiver.
    public struct Configuration: Hashable, Sendable {
        /// The name of the link, unique between the two containers and this direction; if `nil`, the library generates
        /// one.
        public var name: String?
        /// The source of the messages.
        public var source: AMQPSource
        /// The target of the messages. Only the peer uses it.
        public var target = AMQPTarget()
        /// How many messages or bytes may be on their way to the application.
        public var window: Window = .automatic
        /// Whether the receiver grants no credit until ``AMQPReceiver/resume()``, as if it was paused; false by
        /// default.
        public var startsPaused = false
        /// The time at which a message frees its place in the window.
        public var creditReturn: CreditReturn = .onSettlement
        /// Whether to ask the sender to settle its messages itself.
        public var senderSettleMode: AMQPSenderSettleMode = .mixed
        /// The time at which this side settles.
        public var settleMode: AMQPReceiverSettleMode = .first
        /// The most messages that may be unsettled with the ``settleMode`` `second`: 8,192 by default; `nil` for no
        /// limit.
        ///
        /// In that mode each message uses about 800 bytes until the sender settles it, also after the application has
        /// decided. The limit counts outstanding credit, messages without a decision, and decided ones that the sender
        /// has not settled.
        ///
        /// At the limit the receiver grants no credit, whatever the ``window``, and the link is blocked by
        /// ``AMQPBlockCause/unsettled``. The receiver grants credit again when the sender settles.
        public var unsettledLimit: Int? = 8_192
        /// The rate at which messages may arrive; `nil` for no limit. See ``AMQPReceiver/setRateLimit(_:)``.
        ///
        /// The receiver withholds credit, so that messages wait at the peer and not here. When credit is granted, the
        /// bytes of a message count by their expected size; when the message has arrived, by its true size. The limit
        /// does not apply to credit that your code grants.
        public var rateLimit: AMQPRateLimit?
        /// How long `accepted` and `released` may be held back so that several are sent in one disposition: 5 ms by
        /// default.
        ///
        /// The receiver sends them at once if the application holds no other undecided message. It also sends a run of
        /// 64 at once, all of them at 8,192, and the rest at a pause and before the link ends. Behind an undecided
        /// message, a decision waits at most five times as long.
        ///
        /// Credit does not wait for this delay, so the peer may count more unsettled messages than the window. Zero
        /// sends each batch of decisions at once. More than an hour counts as an hour.
        public var settlementDelay: Duration = .milliseconds(5)
        /// The largest message that the receiver accepts, 64 MiB by default; `nil` for no limit. A larger one closes
        /// the link.
        public var maxMessageSize: AMQPByteCount? = .mebibytes(64)
        /// Whether the receiver delivers messages of binary data when their body begins, instead of when all of it has
        /// arrived.
        ///
        /// The library then never holds them whole: read ``AMQPDelivery/body``. For messages of any size, set
        /// ``maxMessageSize`` to `nil`.
        public var streamsMessages = false
        /// The bytes of streamed messages that may wait to be read: 1 MiB by default.
        ///
        /// The excess waits within the session's `incomingCapacity`, and then the other links of the session wait too.
        public var streamBuffer: AMQPByteCount = .mebibytes(1)
        /// Whether the receiver still delivers messages after the end of the link, although no decision about them
        /// reaches the sender.
        ///
        /// `nil`, the default, is `true` on a link that the peer attached and this side accepted, and `false` on a link
        /// that this side attached.
        ///
        /// The value matters when the peer, the session or the connection ends the link. With `false`, unsettled
        /// messages that no task has received return to their source, and one log line counts them. With `true` the
        /// application gets them first, and the sender may send them again. In both cases the receiver delivers settled
        /// messages.
        public var deliversUnsettledAfterEnd: Bool?
        /// The properties of the link that this side announces to the peer.
        public var properties: AMQPMap = [:]
        /// The extensions that this side offers on the link. Source: AMQP 1.0 §2.7.3.
        public var offeredCapabilities: [AMQPSymbol] = []
        /// The extensions that this side would like to use on the link, and that the peer may offer in turn.
        ///
        /// Source: AMQP 1.0 §2.7.3.
        public var desiredCapabilities: [AMQPSymbol] = []

        /// Creates a configuration.
        ///
        /// - Parameters:
        ///   - source: The source of the messages.
        ///   - window: How many messages or bytes may be on their way to the application.
        public init(source: AMQPSource = AMQPSource(), window: Window = .automatic) {
            self.source = source
            self.window = window
        }

        var capabilities: LinkCapabilities {
            LinkCapabilities(offered: self.offeredCapabilities, desired: self.desiredCapabilities)
        }

        func validate() throws(AMQPError) {
            try CheckedText.check(self.offeredCapabilities, "offeredCapabilities: the symbol")
            try CheckedText.check(self.desiredCapabilities, "desiredCapabilities: the symbol")
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
