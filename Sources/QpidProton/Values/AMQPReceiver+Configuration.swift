// SPDX-License-Identifier: Apache-2.0

extension AMQPReceiver {
    /// The rule for granting credit: how many messages or bytes may be on their way to the application.
    ///
    /// Source: AMQP 1.0 §2.6.7.
    public struct Window: Hashable, Sendable {
        let policy: CreditPolicy

        /// The default: ``automatic(budget:)`` with 16 MiB.
        public static let automatic = Self.automatic(budget: .mebibytes(16))
        /// Grants credit for the number of messages that keeps the application busy, within a budget in bytes.
        ///
        /// The receiver adjusts the number of messages to the application's rate, the time of one message, and the
        /// round trip to the peer. The number is large enough to keep the application busy, and small enough to leave
        /// messages for other consumers. The number starts at 64 and stays between 2 and 65,536.
        ///
        /// The bytes count as with ``bytes(_:)``, but no message is too large for the budget. If no other message is
        /// waiting, a waiting application receives a message of any size up to ``Configuration/maxMessageSize``. A
        /// waiting application always has credit, however many unsettled messages it holds.
        public static func automatic(budget: AMQPByteCount) -> Self { Self(policy: .automatic(budget.bytes)) }
        /// Grants credit so that at most `count` messages are on their way. Grants again when a quarter of the window
        /// is free.
        public static func messages(_ count: Int) -> Self { Self(policy: .messages(Swift.max(1, count))) }
        /// Grants credit so that at most `count` bytes are on their way. The receiver divides the bytes by the size of
        /// the largest of the latest messages.
        ///
        /// A message counts for at least 256 bytes, and a window is at least 256 bytes.
        ///
        /// The receiver never holds more bytes than the window. If messages are larger than earlier ones, the excess
        /// waits within the session's `incomingCapacity`. The other links of the session then cannot use that capacity.
        /// When the link ends, the receiver keeps settled messages among that excess beyond the window, because no one
        /// sends them again. A single message that is larger than the window closes the link with
        /// ``AMQPCondition/linkMessageSizeExceeded``.
        public static func bytes(_ count: AMQPByteCount) -> Self { Self(policy: .bytes(count.bytes)) }
        /// Grants credit for one message at a time, and only while a task waits: the receiver prefetches no message.
        ///
        /// If a wait is cancelled, its credit stays at the peer, and a message that arrives is kept for the next call.
        /// ``AMQPReceiver/receive(timeout:)`` returns that credit.
        public static let onDemand = Self(policy: .onDemand)
        /// Grants more credit than the peer can use: the receiver keeps unread messages without a limit.
        public static let unbounded = Self(policy: .unbounded)
        /// The application grants every credit with ``AMQPReceiver/grant(credit:)``.
        public static let manual = Self(policy: .manual)
    }

    /// The time at which a message frees its place in the window.
    public enum CreditReturn: Hashable, Sendable {
        /// When the application settles the message, so that the window bounds the work in progress.
        case onSettlement
        /// When a task receives the message.
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
        /// Whether the receiver grants no credit until ``AMQPReceiver/resume()``, as if it were paused; false by
        /// default.
        public var startsPaused = false
        /// The time at which a message frees its place in the window.
        public var creditReturn: CreditReturn = .onSettlement
        /// Whether to ask the sender to settle its messages itself.
        public var senderSettleMode: AMQPSenderSettleMode = .mixed
        /// The time at which this side settles.
        public var settleMode: AMQPReceiverSettleMode = .first
        /// The maximum number of unsettled messages with the ``settleMode`` `second`: 8,192 by default; `nil` for no
        /// limit.
        ///
        /// In that mode each message uses about 800 bytes until the sender settles it, also after the application has
        /// decided. The limit counts outstanding credit, undecided messages, and decided messages that the sender has
        /// not settled.
        ///
        /// At the limit the receiver grants no credit, whatever the ``window``, and reports that
        /// ``AMQPBlockCause/unsettled`` blocks the link. The receiver grants credit again when the sender settles.
        public var unsettledLimit: Int? = 8_192
        /// The rate at which messages may arrive; `nil` for no limit. See ``AMQPReceiver/setRateLimit(_:)``.
        ///
        /// The receiver withholds credit, so that messages wait at the peer and not here. A message counts with its
        /// expected size when credit is granted, and with its true size when it has arrived. The limit does not apply
        /// to credit that your code grants.
        public var rateLimit: AMQPRateLimit?
        /// How long `accepted` and `released` may be held back so that several are sent in one disposition: 5 ms by
        /// default.
        ///
        /// The receiver sends the decisions at once if the application holds no other undecided message. It also sends
        /// a run of 64 at once, all decisions at 8,192, and the rest at a pause and before the link ends. Behind an
        /// undecided message, a decision waits at most five times as long.
        ///
        /// Credit does not wait for this delay, so the peer may count more unsettled messages than the window. Zero
        /// sends each batch of decisions at once. More than an hour counts as an hour.
        public var settlementDelay: Duration = .milliseconds(5)
        /// The largest message that the receiver accepts, 64 MiB by default; `nil` for no limit. A larger message
        /// closes the link.
        public var maxMessageSize: AMQPByteCount? = .mebibytes(64)
        /// Whether the receiver delivers a message of binary data when its body begins, instead of when the whole body
        /// has arrived.
        ///
        /// The library then never holds a whole message: read ``AMQPDelivery/body``. For messages of any size, set
        /// ``maxMessageSize`` to `nil`.
        public var streamsMessages = false
        /// The maximum number of unread bytes of streamed messages: 1 MiB by default.
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
        /// application receives them first, and the sender may send them again. In both cases the receiver delivers
        /// settled messages.
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
