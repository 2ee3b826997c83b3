// SPDX-License-Identifier: Apache-2.0

extension AMQPConsumer {
    /// The settings of a consumer.
    public struct Configuration: Sendable {
        /// The settings of the link.
        ///
        /// The consumer grants the credit itself, so ``AMQPReceiver/Configuration/window`` and
        /// ``AMQPReceiver/Configuration/creditReturn`` have no effect. It requests unsettled messages by default,
        /// because it cannot return settled ones.
        public var receiver: AMQPReceiver.Configuration
        /// The most handlers that run at the same time: 16 by default, at least 1.
        public var concurrency = 16
        /// How many attempts a message has before the consumer rejects it: 3 by default, at least 1; `nil` for no
        /// limit.
        ///
        /// The number of an attempt is the message's ``AMQPHeader/deliveryCount`` plus 1. If the peer keeps no such
        /// count, the consumer keeps one: see ``rememberedMessages``.
        public var attempts: Int? = 3
        /// How long a handler may run; `nil`, the default, for no limit.
        ///
        /// At the limit the consumer cancels the handler's task, and the message has failed, whatever the handler
        /// returns. The handler keeps its place until it returns.
        public var timeout: Duration?
        /// The messages that the consumer handles one after another: none by default.
        public var order = Order.none
        /// How many messages the consumer fetches ahead of the handlers: ``Prefetch/automatic`` by default.
        public var prefetch = Prefetch.automatic
        /// The most messages that wait in the consumer for others of their keys: 256 by default.
        ///
        /// At the limit the consumer receives no message, not even one of another key.
        public var waitingLimit = 256
        /// The delay before the second attempt in place: 100 ms by default. It doubles with each further attempt, up to
        /// 30 s. The message keeps its handler's place during the delay.
        public var retryDelay: Duration = .milliseconds(100)
        /// For how many failed messages the consumer keeps its own count: 10,000 by default, about 100 bytes each. It
        /// forgets the oldest first.
        ///
        /// The consumer identifies a message by its message-id, or by its contents if it has none.
        public var rememberedMessages = 10_000
        /// How long the handlers and the link may take to finish: 30 s by default. The limit applies when the link ends
        /// or the task of ``AMQPConsumer/run()`` is cancelled.
        public var stopLimit: Duration = .seconds(30)

        /// Creates a configuration with the defaults.
        ///
        /// - Parameter address: The name of the node.
        public init(source address: String) { self.init(AMQPSource(address: address)) }

        /// Creates a configuration with the defaults.
        ///
        /// - Parameter source: The source of the messages.
        public init(_ source: AMQPSource) {
            self.receiver = AMQPReceiver.Configuration(source: source)
            self.receiver.senderSettleMode = .unsettled
        }
    }

    /// The messages that the consumer handles one after another, in their order of arrival.
    ///
    /// If such a message fails, the consumer handles it again in place, before the next one of its key.
    public struct Order: Sendable {
        enum Kind: Sendable {
            case none
            case group
            case key(@Sendable (AMQPDelivery) -> String?)
        }
        let kind: Kind

        /// The consumer may handle any messages at the same time.
        public static let none = Self(kind: .none)
        /// The consumer handles messages with the same ``AMQPProperties/groupID`` one after another, and messages
        /// without one in any order.
        public static let byGroupID = Self(kind: .group)
        /// Handles messages of the same key one after another, and messages whose key is `nil` in any order.
        ///
        /// - Parameter key: Returns the key of a message. The consumer calls it once for each message, before its
        ///   handler.
        public static func by(_ key: @escaping @Sendable (AMQPDelivery) -> String?) -> Self { Self(kind: .key(key)) }

        /// Returns the lane of a message.
        func lane(of delivery: AMQPDelivery, _ envelope: ConsumerEnvelope) -> Int? {
            switch self.kind {
            case .none: nil
            case .group: envelope.groupID?.hashValue
            case .key(let key): key(delivery)?.hashValue
            }
        }
    }

    /// How many messages the consumer fetches ahead of the handlers.
    ///
    /// Source: AMQP 1.0 §2.6.7, link-credit.
    public struct Prefetch: Hashable, Sendable {
        enum Kind: Hashable, Sendable {
            case fixed(Int)
            case automatic(limit: Int)
        }
        let kind: Kind

        /// The default: ``automatic(limit:)`` with 256.
        public static let automatic = Self.automatic(limit: 256)
        /// Fetches as many messages as the handlers finish within a tenth of a second, and none at first. Slower
        /// handlers leave the messages to other consumers.
        public static func automatic(limit: Int) -> Self { Self(kind: .automatic(limit: max(0, limit))) }
        /// Always fetches that many messages.
        public static func messages(_ count: Int) -> Self { Self(kind: .fixed(max(0, count))) }
    }
}

extension AMQPConsumer.Configuration {
    func validate() throws(AMQPError) {
        func require(_ condition: Bool, _ text: String) throws(AMQPError) {
            if !condition { throw .client(.invalidArgument, text) }
        }
        let concurrency = self.concurrency
        try require(
            (1...1_000_000).contains(concurrency),
            "concurrency is \(concurrency): it must be from 1 to 1,000,000"
        )
        if let attempts = self.attempts {
            try require(attempts >= 1, "attempts is \(attempts): it must be at least 1, or nil")
        }
        if let timeout = self.timeout {
            try require(timeout > .zero, "timeout is \(timeout): it must be more than 0, or nil")
        }
        try require(self.waitingLimit >= 1, "waitingLimit is \(self.waitingLimit): it must be at least 1")
        try require(self.retryDelay >= .zero, "retryDelay is \(self.retryDelay): it must be at least 0")
        try self.receiver.validate()
    }

    var limits: ConsumerState.Limits {
        ConsumerState.Limits(
            concurrency: self.concurrency,
            attempts: self.attempts,
            prefetch: self.prefetch,
            backlog: self.waitingLimit,
            retryDelay: self.retryDelay
        )
    }

    /// The settings of the link.
    var link: AMQPReceiver.Configuration {
        var link = self.receiver
        link.window = .manual
        return link
    }
}
