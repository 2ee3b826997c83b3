// SPDX-License-Identifier: Apache-2.0

/// The state of a terminus that survives the connection. Source: AMQP 1.0 §3.5.5.
public enum AMQPTerminusDurability: Hashable, Sendable {
    /// No state survives.
    case none
    /// The existence and the configuration of the terminus.
    case configuration
    /// The existence and the configuration of the terminus, and the state of the unsettled deliveries.
    case unsettledState
}

/// The time at which a terminus begins to expire. Source: AMQP 1.0 §3.5.6.
public enum AMQPTerminusExpiryPolicy: Hashable, Sendable {
    /// When the link is detached.
    case linkDetach
    /// When the session ends.
    case sessionEnd
    /// When the connection closes.
    case connectionClose
    /// Never.
    case never
}

/// The way in which a source distributes messages. Source: AMQP 1.0 §3.5.7.
public enum AMQPDistributionMode: Hashable, Sendable {
    /// The source removes an accepted message.
    case move
    /// A message stays at the source for other receivers.
    case copy
}

/// The source of the messages of a link. Source: AMQP 1.0 §3.5.3.
public struct AMQPSource: Hashable, Sendable {
    /// The name of the node; `nil` for no node, or if the peer creates the node (``isDynamic``).
    public var address: String? {
        get { self.comparedAddress.text }
        set { self.comparedAddress.text = newValue }
    }
    private var comparedAddress: Bytewise<String?>
    /// The state that survives the connection.
    public var durability: AMQPTerminusDurability = .none
    /// The time at which the terminus begins to expire.
    public var expiryPolicy: AMQPTerminusExpiryPolicy = .sessionEnd
    /// How long the terminus lives once it has begun to expire, in whole seconds.
    public var timeout: Duration = .zero
    /// Whether to ask the peer to create a node and to announce its address.
    public var isDynamic = false
    /// The properties of the node that the peer is asked to create.
    public var dynamicNodeProperties: AMQPMap = [:]
    /// The way in which the source distributes messages; if `nil`, the peer chooses.
    public var distributionMode: AMQPDistributionMode?
    /// The filters that select the messages, in order.
    public var filters: [AMQPFilter] = []
    /// The capabilities that the terminus has, or is asked to have.
    public var capabilities: [AMQPSymbol] = []

    /// Creates a source.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - filters: The filters that select the messages.
    public init(address: String? = nil, filters: [AMQPFilter] = []) {
        self.comparedAddress = Bytewise(address)
        self.filters = filters
    }

    /// A node that the peer creates for this link; its address is in the link's ``AMQPLink/remoteSource``.
    public static var dynamic: Self {
        var source = Self()
        source.isDynamic = true
        return source
    }
}

extension AMQPSource: ExpressibleByStringLiteral {
    /// Creates a source from an address.
    public init(stringLiteral value: String) { self.init(address: value) }
}

/// The target of the messages of a link. Source: AMQP 1.0 §3.5.4.
public struct AMQPTarget: Hashable, Sendable {
    /// The name of the node; `nil` for the anonymous terminus, where each message names its own node in `to`.
    public var address: String? {
        get { self.comparedAddress.text }
        set { self.comparedAddress.text = newValue }
    }
    private var comparedAddress: Bytewise<String?>
    /// The state that survives the connection.
    public var durability: AMQPTerminusDurability = .none
    /// The time at which the terminus begins to expire.
    public var expiryPolicy: AMQPTerminusExpiryPolicy = .sessionEnd
    /// How long the terminus lives once it has begun to expire, in whole seconds.
    public var timeout: Duration = .zero
    /// Whether to ask the peer to create a node and to announce its address.
    public var isDynamic = false
    /// The properties of the node that the peer is asked to create.
    public var dynamicNodeProperties: AMQPMap = [:]
    /// The capabilities that the terminus has, or is asked to have.
    public var capabilities: [AMQPSymbol] = []

    /// Creates a target.
    ///
    /// - Parameter address: The name of the node; `nil` for the anonymous terminus.
    public init(address: String? = nil) {
        self.comparedAddress = Bytewise(address)
    }

    /// The anonymous terminus: each message names its own node in `to`.
    public static var anonymous: Self { Self() }

    /// A node that the peer creates for this link; its address is in the link's ``AMQPLink/remoteTarget``.
    public static var dynamic: Self {
        var target = Self()
        target.isDynamic = true
        return target
    }
}

extension AMQPTarget: ExpressibleByStringLiteral {
    /// Creates a target from an address.
    public init(stringLiteral value: String) { self.init(address: value) }
}

extension AMQPSource: CustomStringConvertible {
    /// The address, with the filters and capabilities if there are any.
    public var description: String {
        let parts: [String?] = [
            self.address.map(\.debugDescription) ?? (self.isDynamic ? "a dynamic node" : "no address"),
            self.filters.isEmpty ? nil : "filters \(self.filters.map(\.name.rawValue).joined(separator: ", "))",
            self.capabilities.isEmpty
                ? nil : "capabilities \(self.capabilities.map(\.rawValue).joined(separator: ", "))",
        ]
        return parts.compactMap(\.self).joined(separator: ", ").onOneLine
    }
}

extension AMQPTarget: CustomStringConvertible {
    /// The address, with the capabilities if there are any.
    public var description: String {
        let parts: [String?] = [
            self.address.map(\.debugDescription) ?? (self.isDynamic ? "a dynamic node" : "no address"),
            self.capabilities.isEmpty
                ? nil : "capabilities \(self.capabilities.map(\.rawValue).joined(separator: ", "))",
        ]
        return parts.compactMap(\.self).joined(separator: ", ").onOneLine
    }
}
