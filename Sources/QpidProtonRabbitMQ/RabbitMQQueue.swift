// SPDX-License-Identifier: Apache-2.0

public import QpidProton

/// A queue to declare.
public struct RabbitMQQueue: Hashable, Sendable {
    /// The kind of a queue: an open set of names.
    public struct Kind: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
        /// The name, as in the argument `x-queue-type`.
        public let rawValue: String

        /// Creates a kind with any name.
        public init(rawValue: String) { self.rawValue = rawValue }
        /// Creates a kind from a literal name.
        public init(stringLiteral value: String) { self.rawValue = value }
        /// The name.
        public var description: String { self.rawValue }

        /// A queue that is stored on one node.
        public static let classic: Self = "classic"
        /// A replicated queue: the broker accepts a message when most replicas have written it to disk.
        public static let quorum: Self = "quorum"
        /// A log that receivers read from any position. Accepted messages stay in the log.
        public static let stream: Self = "stream"
    }

    /// The treatment of a message for which a queue of ``maxLength`` has no room.
    public enum Overflow: String, Hashable, Sendable {
        /// The broker drops the oldest message.
        case dropHead = "drop-head"
        /// The broker rejects the new message.
        case rejectPublish = "reject-publish"
        /// The broker rejects the new message and dead-letters it.
        case rejectPublishDeadLetter = "reject-publish-dlx"
    }

    /// The unencoded name.
    public var name: String
    /// The kind of the queue; `nil` for the default of the virtual host.
    public var kind: Kind?
    /// Whether the queue survives a restart of the broker; true by default.
    public var isDurable = true
    /// Whether only this connection may use the queue, which is deleted with the connection; false by default.
    public var isExclusive = false
    /// Whether the broker deletes the queue with its last consumer; false by default.
    public var isAutoDelete = false
    /// How long a message may stay in the queue, in whole milliseconds (`x-message-ttl`); `nil` for no limit.
    public var messageTimeToLive: Duration?
    /// The maximum number of messages in the queue (`x-max-length`); `nil` for no limit.
    public var maxLength: Int?
    /// The treatment of a message without room (`x-overflow`); `nil` for the broker's default.
    public var overflow: Overflow?
    /// The exchange for rejected, expired and dropped messages (`x-dead-letter-exchange`). The default exchange has the
    /// empty name.
    public var deadLetterExchange: String?
    /// The routing key of rejected, expired and dropped messages (`x-dead-letter-routing-key`); `nil` for the key of
    /// each message.
    public var deadLetterKey: String?
    /// The highest priority that a classic queue distinguishes, 1 to 255 (`x-max-priority`).
    public var maxPriority: Int?
    /// Whether one consumer receives all messages, and the next consumer follows when it ends
    /// (`x-single-active-consumer`).
    public var hasSingleActiveConsumer = false
    /// The maximum number of returns of a message in a quorum queue (`x-delivery-limit`): `nil` for the broker's
    /// default of 20, −1 for no limit.
    public var deliveryLimit: Int?
    /// Other arguments, by name, which override the properties above.
    public var arguments: AMQPMap = [:]

    /// Creates the description of a queue.
    ///
    /// - Parameters:
    ///   - name: The unencoded name.
    ///   - kind: The kind of the queue; `nil` for the default of the virtual host.
    public init(_ name: String, kind: Kind? = nil) {
        self.name = name
        self.kind = kind
    }

    /// Creates the description of an exclusive queue with a unique name. The broker deletes the queue with its
    /// connection.
    ///
    /// RabbitMQ generates no queue names over AMQP 1.0. A ``RabbitMQTopology`` declares the queue again under the same
    /// name, so that links find the queue after a lost connection.
    ///
    /// - Parameter prefix: The start of the name.
    public static func temporary(prefix: String = "client") -> Self {
        let number = UInt64.random(in: .min ... .max)
        var queue = Self(
            "\(prefix)-\(String(number, radix: 36))-\(String(UInt64.random(in: .min ... .max), radix: 36))"
        )
        (queue.isExclusive, queue.isDurable) = (true, false)
        return queue
    }

    /// The body of the request that declares the queue.
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

/// A queue as the broker reports it.
public struct RabbitMQQueueInfo: Hashable, Sendable {
    /// The unencoded name.
    public var name: String
    /// The virtual host of the queue.
    public var virtualHost: String
    /// The kind of the queue.
    public var kind: RabbitMQQueue.Kind
    /// Whether the queue survives a restart of the broker.
    public var isDurable: Bool
    /// Whether only one connection may use the queue.
    public var isExclusive: Bool
    /// Whether the broker deletes the queue with its last consumer.
    public var isAutoDelete: Bool
    /// All arguments, by name.
    public var arguments: AMQPMap
    /// The number of messages ready for delivery at the broker's last count.
    public var messageCount: Int
    /// The number of consumers.
    public var consumerCount: Int
    /// The leader node of the queue; `nil` if the queue has no leader.
    public var leader: String?
    /// The nodes with a replica of the queue.
    public var replicas: [String]

    init(_ map: AMQPMap) throws(AMQPError) {
        func value<Value>(_ key: String, _ get: (AMQPValue) -> Value?) throws(AMQPError) -> Value {
            guard let value = map[key].flatMap(get) else {
                throw AMQPError(
                    condition: .decodeError,
                    detail: "the broker's answer has no usable '\(key)': \(map)"
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
