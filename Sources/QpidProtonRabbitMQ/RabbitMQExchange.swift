// SPDX-License-Identifier: Apache-2.0

public import QpidProton

/// An exchange to declare.
public struct RabbitMQExchange: Hashable, Sendable {
    /// The routing rule of an exchange: an open set of names.
    public struct Kind: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
        /// The name.
        public let rawValue: String

        /// Creates a kind with any name.
        public init(rawValue: String) { self.rawValue = rawValue }
        /// Creates a kind from a literal name.
        public init(stringLiteral value: String) { self.rawValue = value }
        /// The name.
        public var description: String { self.rawValue }

        /// Routes to the queues whose binding key is the routing key.
        public static let direct: Self = "direct"
        /// Routes to all bound queues.
        public static let fanout: Self = "fanout"
        /// Routes to the queues whose binding key, with `*` and `#`, matches the routing key.
        public static let topic: Self = "topic"
        /// Routes to the queues whose binding arguments match the application properties.
        public static let headers: Self = "headers"
    }

    /// The unencoded name.
    public var name: String
    /// The routing rule.
    public var kind: Kind
    /// Whether the exchange survives a restart of the broker; true by default.
    public var isDurable = true
    /// Whether the broker deletes the exchange with its last binding; false by default.
    public var isAutoDelete = false
    /// Whether only other exchanges can send to this exchange; false by default.
    public var isInternal = false
    /// The arguments, by name.
    public var arguments: AMQPMap = [:]

    /// Creates the description of an exchange.
    ///
    /// - Parameters:
    ///   - name: The unencoded name.
    ///   - kind: The routing rule.
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

/// A binding, which routes messages of an exchange to a queue or another exchange.
public struct RabbitMQBinding: Hashable, Sendable {
    /// The destination of the messages.
    public enum Destination: Hashable, Sendable {
        /// The queue with a name.
        case queue(String)
        /// The exchange with a name.
        case exchange(String)

        var name: String {
            switch self {
            case .queue(let name), .exchange(let name): name
            }
        }

        /// The name of the destination's kind in the path of a binding.
        var mark: String {
            switch self {
            case .queue: "dstq"
            case .exchange: "dste"
            }
        }
    }

    /// The name of the exchange.
    public var exchange: String
    /// The destination of the messages.
    public var destination: Destination
    /// The binding key. The exchange determines which routing keys match.
    public var key: String
    /// The arguments, by name, which an exchange of kind `headers` matches.
    public var arguments: AMQPMap

    /// Creates the description of a binding.
    ///
    /// - Parameters:
    ///   - exchange: The name of the exchange.
    ///   - destination: The destination of the messages.
    ///   - key: The binding key.
    ///   - arguments: The arguments, by name.
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

    /// The path of the list of bindings that differ from this one only in their arguments.
    var listPath: String {
        let (source, destination) = (
            RabbitMQAddress.encoded(self.exchange), RabbitMQAddress.encoded(self.destination.name)
        )
        return
            "/bindings?\(self.destination.mark)=\(destination)&key=\(RabbitMQAddress.encoded(self.key))&src=\(source)"
    }

    /// Returns the path of this binding from the broker's list; `nil` if the binding does not exist.
    func location(in list: AMQPValue) throws(AMQPError) -> String? {
        guard let bindings = list.listValue else {
            throw AMQPError(condition: .decodeError, detail: "the broker's answer is not a list of bindings: \(list)")
        }
        return bindings.lazy.compactMap(\.mapValue)
            .first { Self.isSame($0["arguments"]?.mapValue ?? [:], self.arguments) }?["location"]?.stringValue
    }

    /// Returns whether the broker treats two bindings as the same.
    func isSame(as other: Self) -> Bool {
        self.exchange.isSame(as: other.exchange) && self.destination.mark == other.destination.mark
            && self.destination.name.isSame(as: other.destination.name) && self.key.isSame(as: other.key)
            && Self.isSame(self.arguments, other.arguments)
    }

    /// Returns whether the broker treats arguments as equal. The broker returns them in another order, with integers of
    /// other widths.
    private static func isSame(_ left: AMQPMap, _ right: AMQPMap) -> Bool {
        left.count == right.count
            && right.allSatisfy { key, value in
                let name = key.symbolValue.map { .string($0.rawValue) } ?? key
                guard let other = left[name] else { return false }
                return other == value || (value.intValue != nil && other.intValue == value.intValue)
            }
    }
}
