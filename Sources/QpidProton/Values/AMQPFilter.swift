// SPDX-License-Identifier: Apache-2.0

/// A filter at a source: a name, and a described value that selects messages. Source: AMQP 1.0 §3.5.8.
public struct AMQPFilter: Hashable, Sendable {
    /// The key in the source's filter set.
    public var name: AMQPSymbol
    /// The described value; some peers also accept a value without a descriptor.
    public var value: AMQPValue

    /// Creates a filter from any value.
    ///
    /// - Parameters:
    ///   - name: The key in the source's filter set.
    ///   - value: The value on the wire.
    public init(name: AMQPSymbol, value: AMQPValue) {
        self.name = name
        self.value = value
    }

    /// Creates a filter from a described value.
    ///
    /// - Parameters:
    ///   - name: The key in the source's filter set.
    ///   - descriptor: A symbol or a number that names the type of the filter.
    ///   - value: The value that the filter matches.
    public init(name: AMQPSymbol, descriptor: AMQPValue, value: AMQPValue) {
        self.init(name: name, value: .described(AMQPDescribed(descriptor: descriptor, value: value)))
    }

    /// Creates an SQL-like selector on header, properties and application properties
    /// (`apache.org:selector-filter:string`).
    public static func selector(_ expression: String) -> Self {
        Self(
            name: "apache.org:selector-filter:string",
            descriptor: .symbol("apache.org:selector-filter:string"),
            value: .string(expression)
        )
    }

    /// Creates a filter that starts a receiver at a place in a RabbitMQ stream (`rabbitmq:stream-offset-spec`).
    public static func streamOffset(_ offset: AMQPStreamOffset) -> Self {
        Self(
            name: "rabbitmq:stream-offset-spec",
            descriptor: .symbol("rabbitmq:stream-offset-spec"),
            value: offset.value
        )
    }
}

/// A place in a RabbitMQ stream.
public enum AMQPStreamOffset: Hashable, Sendable {
    /// The first message that is still in the stream.
    case first
    /// The chunk that was written last.
    case last
    /// The messages that are written after the receiver attaches.
    case next
    /// The message with this number in the stream.
    case offset(UInt64)
    /// The first chunk that was written at or after a time.
    case timestamp(AMQPTimestamp)

    var value: AMQPValue {
        switch self {
        case .first: .string("first")
        case .last: .string("last")
        case .next: .string("next")
        case .offset(let number): .ulong(number)
        case .timestamp(let time): .timestamp(time)
        }
    }
}
