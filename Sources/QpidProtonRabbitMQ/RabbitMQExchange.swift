public import QpidProton

/// An exchange as it is to be declared.
public struct RabbitMQExchange: Hashable, Sendable {
    /// How messages are routed: an open set of names.
    public struct Kind: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
        /// The name.
        public let rawValue: String

        /// Creates a kind of any name.
        public init(rawValue: String) { self.rawValue = rawValue }
        /// Creates a kind of a literal name.
        public init(stringLiteral value: String) { self.rawValue = value }
        /// The name.
        public var description: String { self.rawValue }

        /// To the queues whose binding key is the routing key.
        public static let direct: Self = "direct"
        /// To all queues that are bound.
        public static let fanout: Self = "fanout"
        /// To the queues whose binding key, with `*` and `#`, matches the routing key.
        public static let topic: Self = "topic"
        /// To the queues whose binding arguments match the application properties.
        public static let headers: Self = "headers"
    }

    /// The name as it is.
    public var name: String
    /// How messages are routed.
    public var kind: Kind
    /// Whether the exchange is there after the broker has been started again.
    public var isDurable = true
    /// Whether the exchange is deleted with its last binding.
    public var isAutoDelete = false
    /// Whether messages come from other exchanges alone.
    public var isInternal = false
    /// Arguments, by name.
    public var arguments: AMQPMap = [:]

    /// Describes an exchange.
    ///
    /// - Parameters:
    ///   - name: The name as it is.
    ///   - kind: How messages are routed.
    public init(_ name: String, kind: Kind = .direct) {
        self.name = name
        self.kind = kind
    }

    var declaration: AMQPMap {
        [
            "type": .string(self.kind.rawValue), "durable": .bool(self.isDurable),
            "auto_delete": .bool(self.isAutoDelete), "internal": .bool(self.isInternal),
            "arguments": .map(self.arguments),
        ]
    }
}

/// A binding: the messages of an exchange that a queue, or another exchange, gets.
public struct RabbitMQBinding: Hashable, Sendable {
    /// Who gets the messages.
    public enum Destination: Hashable, Sendable {
        /// The queue of a name.
        case queue(String)
        /// The exchange of a name.
        case exchange(String)

        var name: String {
            switch self {
            case .queue(let name), .exchange(let name): name
            }
        }

        /// The name of its kind in the path of a binding.
        var mark: String {
            switch self {
            case .queue: "dstq"
            case .exchange: "dste"
            }
        }
    }

    /// The name of the exchange.
    public var exchange: String
    /// Who gets the messages.
    public var destination: Destination
    /// The binding key: which routing keys match depends on the exchange.
    public var key: String
    /// Arguments, by name: what an exchange of kind `headers` matches.
    public var arguments: AMQPMap

    /// Describes a binding.
    ///
    /// - Parameters:
    ///   - exchange: The name of the exchange.
    ///   - destination: Who gets the messages.
    ///   - key: The binding key.
    ///   - arguments: Arguments, by name.
    public init(exchange: String, to destination: Destination, key: String = "", arguments: AMQPMap = [:]) {
        self.exchange = exchange
        self.destination = destination
        self.key = key
        self.arguments = arguments
    }

    var declaration: AMQPMap {
        var map: AMQPMap = ["source": .string(self.exchange), "binding_key": .string(self.key)]
        switch self.destination {
        case .queue(let name): map["destination_queue"] = .string(name)
        case .exchange(let name): map["destination_exchange"] = .string(name)
        }
        map["arguments"] = .map(self.arguments)
        return map
    }

    /// The path of a binding without arguments.
    var path: String {
        let (source, destination) = (
            RabbitMQAddress.encoded(self.exchange), RabbitMQAddress.encoded(self.destination.name)
        )
        let key = RabbitMQAddress.encoded(self.key)
        return "/bindings/src=\(source);\(self.destination.mark)=\(destination);key=\(key);args="
    }

    /// The path of the list of the bindings that differ from this one in their arguments alone.
    var listPath: String {
        let (source, destination) = (
            RabbitMQAddress.encoded(self.exchange), RabbitMQAddress.encoded(self.destination.name)
        )
        return
            "/bindings?\(self.destination.mark)=\(destination)&key=\(RabbitMQAddress.encoded(self.key))&src=\(source)"
    }

    /// The path of this binding in that list; `nil` if it is not there.
    func location(in list: AMQPValue) throws(AMQPError) -> String? {
        guard let bindings = list.listValue else {
            throw AMQPError(condition: .decodeError, detail: "the broker's answer is no list of bindings: \(list)")
        }
        return bindings.lazy.compactMap(\.mapValue)
            .first { Self.isSame($0["arguments"]?.mapValue ?? [:], self.arguments) }?["location"]?.stringValue
    }

    /// Whether two bindings are one for the broker.
    func isSame(as other: Self) -> Bool {
        self.exchange.isSame(as: other.exchange) && self.destination.mark == other.destination.mark
            && self.destination.name.isSame(as: other.destination.name) && self.key.isSame(as: other.key)
            && Self.isSame(self.arguments, other.arguments)
    }

    /// Whether arguments are the same for the broker: it gives them back in another order, and integers in other widths.
    private static func isSame(_ left: AMQPMap, _ right: AMQPMap) -> Bool {
        left.count == right.count
            && right.allSatisfy { key, value in
                let name = key.symbolValue.map { .string($0.rawValue) } ?? key
                guard let other = left[name] else { return false }
                return other == value || (value.intValue != nil && other.intValue == value.intValue)
            }
    }
}
