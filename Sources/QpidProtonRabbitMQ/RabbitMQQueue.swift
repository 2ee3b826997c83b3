public import QpidProton

/// A queue as it is to be declared.
public struct RabbitMQQueue: Hashable, Sendable {
    /// What keeps the messages: an open set of names.
    public struct Kind: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
        /// The name, as in the argument `x-queue-type`.
        public let rawValue: String

        /// Creates a kind of any name.
        public init(rawValue: String) { self.rawValue = rawValue }
        /// Creates a kind of a literal name.
        public init(stringLiteral value: String) { self.rawValue = value }
        /// The name.
        public var description: String { self.rawValue }

        /// Kept by one node.
        public static let classic: Self = "classic"
        /// Replicated: a message is accepted when most of the replicas have it on their disks.
        public static let quorum: Self = "quorum"
        /// A log, which receivers read from any place; what they accept stays.
        public static let stream: Self = "stream"
    }

    /// What becomes of a message for which a queue of ``maxLength`` has no room.
    public enum Overflow: String, Hashable, Sendable {
        /// The oldest message gives way.
        case dropHead = "drop-head"
        /// The new message is rejected.
        case rejectPublish = "reject-publish"
        /// The new message is rejected, and dead-lettered.
        case rejectPublishDeadLetter = "reject-publish-dlx"
    }

    /// The name as it is.
    public var name: String
    /// What keeps the messages; `nil` for the default of the virtual host.
    public var kind: Kind?
    /// Whether the queue is there after the broker has been started again.
    public var isDurable = true
    /// Whether only this connection may use the queue, which ends with it.
    public var isExclusive = false
    /// Whether the queue is deleted with its last consumer.
    public var isAutoDelete = false
    /// How long a message may stay, in whole milliseconds (`x-message-ttl`).
    public var messageTimeToLive: Duration?
    /// How many messages the queue holds at most (`x-max-length`).
    public var maxLength: Int?
    /// What becomes of a message for which there is no room (`x-overflow`).
    public var overflow: Overflow?
    /// The exchange that gets the messages that were rejected, are too old, or were dropped (`x-dead-letter-exchange`); the
    /// default exchange has the empty name.
    public var deadLetterExchange: String?
    /// The routing key of those messages; `nil` for the one that they have (`x-dead-letter-routing-key`).
    public var deadLetterKey: String?
    /// The highest priority that a classic queue tells from lower ones, 1 to 255 (`x-max-priority`).
    public var maxPriority: Int?
    /// Whether one consumer gets all messages, and the next one takes over when it ends (`x-single-active-consumer`).
    public var hasSingleActiveConsumer = false
    /// How often a quorum queue delivers a message that comes back failed (`x-delivery-limit`).
    public var deliveryLimit: Int?
    /// Other arguments, by name; they go before the properties above.
    public var arguments: AMQPMap = [:]

    /// Describes a queue.
    ///
    /// - Parameters:
    ///   - name: The name as it is.
    ///   - kind: What keeps the messages; `nil` for the default of the virtual host.
    public init(_ name: String, kind: Kind? = nil) {
        self.name = name
        self.kind = kind
    }

    /// Describes a queue for one connection, which ends with it: exclusive, with a name that no other has.
    ///
    /// RabbitMQ names no queue itself over AMQP 1.0. A ``RabbitMQTopology`` declares it again under the same name, so links
    /// find it after a lost connection.
    ///
    /// - Parameter prefix: The beginning of the name.
    public static func temporary(prefix: String = "client") -> Self {
        let number = UInt64.random(in: .min ... .max)
        var queue = Self(
            "\(prefix)-\(String(number, radix: 36))-\(String(UInt64.random(in: .min ... .max), radix: 36))"
        )
        (queue.isExclusive, queue.isDurable) = (true, false)
        return queue
    }

    /// The body of the request that declares it.
    var declaration: AMQPMap {
        var arguments: AMQPMap = [:]
        func set(_ name: String, _ value: AMQPValue?) {
            if let value { arguments[name] = value }
        }
        set("x-queue-type", self.kind.map { .string($0.rawValue) })
        set("x-message-ttl", self.messageTimeToLive.map { .long($0.wholeMilliseconds) })
        set("x-max-length", self.maxLength.map { .long(Int64($0)) })
        set("x-overflow", self.overflow.map { .string($0.rawValue) })
        set("x-dead-letter-exchange", self.deadLetterExchange.map { .string($0) })
        set("x-dead-letter-routing-key", self.deadLetterKey.map { .string($0) })
        set("x-max-priority", self.maxPriority.map { .long(Int64($0)) })
        set("x-single-active-consumer", self.hasSingleActiveConsumer ? .bool(true) : nil)
        set("x-delivery-limit", self.deliveryLimit.map { .long(Int64($0)) })
        for (name, value) in self.arguments { arguments[name] = value }
        return [
            "durable": .bool(self.isDurable), "exclusive": .bool(self.isExclusive),
            "auto_delete": .bool(self.isAutoDelete), "arguments": .map(arguments),
        ]
    }
}

extension Duration {
    var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = self.components
        let (thousands, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        return overflow ? .max : thousands + attoseconds / 1_000_000_000_000_000
    }
}

/// A queue as the broker has it.
public struct RabbitMQQueueInfo: Hashable, Sendable {
    /// The name as it is.
    public var name: String
    /// The virtual host that the queue is in.
    public var virtualHost: String
    /// What keeps the messages.
    public var kind: RabbitMQQueue.Kind
    /// Whether the queue is there after the broker has been started again.
    public var isDurable: Bool
    /// Whether only one connection may use the queue.
    public var isExclusive: Bool
    /// Whether the queue is deleted with its last consumer.
    public var isAutoDelete: Bool
    /// All arguments, by name.
    public var arguments: AMQPMap
    /// The messages that could be delivered, when the broker last counted.
    public var messageCount: Int
    /// The consumers.
    public var consumerCount: Int
    /// The node that leads the queue; `nil` if there is none.
    public var leader: String?
    /// The nodes that have the queue.
    public var replicas: [String]

    init(_ map: AMQPMap) throws(AMQPError) {
        func value<Value>(_ key: String, _ get: (AMQPValue) -> Value?) throws(AMQPError) -> Value {
            guard let value = map[key].flatMap(get) else {
                throw AMQPError(
                    condition: .decodeError,
                    detail: "the broker's answer has no '\(key)' that can be used: \(map)"
                )
            }
            return value
        }
        self.name = try value("name", \.stringValue)
        self.virtualHost = try value("vhost", \.stringValue)
        self.kind = .init(rawValue: try value("type", \.stringValue))
        self.isDurable = try value("durable", \.boolValue)
        self.isExclusive = try value("exclusive", \.boolValue)
        self.isAutoDelete = try value("auto_delete", \.boolValue)
        self.arguments = map["arguments"]?.mapValue ?? [:]
        self.messageCount = try value("message_count", \.intValue)
        self.consumerCount = try value("consumer_count", \.intValue)
        self.leader = map["leader"]?.stringValue
        self.replicas = map["replicas"]?.arrayValue?.compactMap(\.stringValue) ?? []
    }
}
