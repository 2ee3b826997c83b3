/// What lives on at a terminus when the connection does not. Source: AMQP 1.0 §3.5.5.
public enum AMQPTerminusDurability: Hashable, Sendable {
    /// Nothing.
    case none
    /// The existence and the configuration of the terminus.
    case configuration
    /// Also the state of the unsettled deliveries.
    case unsettledState
}

/// When a terminus begins to expire. Source: AMQP 1.0 §3.5.6.
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

/// How messages leave a source. Source: AMQP 1.0 §3.5.7.
public enum AMQPDistributionMode: Hashable, Sendable {
    /// A message that was accepted is gone from the source.
    case move
    /// A message stays at the source for others.
    case copy
}

/// Where the messages of a link come from. Source: AMQP 1.0 §3.5.3.
public struct AMQPSource: Hashable, Sendable {
    /// The name of the node; nil for none, or where the peer makes a node (``isDynamic``).
    public var address: String? {
        get { self.comparedAddress.text }
        set { self.comparedAddress.text = newValue }
    }
    private var comparedAddress: Bytewise<String?>
    /// What lives on when the connection does not.
    public var durability: AMQPTerminusDurability = .none
    /// When the terminus begins to expire.
    public var expiryPolicy: AMQPTerminusExpiryPolicy = .sessionEnd
    /// How long the terminus lives once it has begun to expire, in whole seconds.
    public var timeout: Duration = .zero
    /// Whether the peer is asked to make a node and to tell its address.
    public var isDynamic = false
    /// Properties of the node that the peer is asked to make.
    public var dynamicNodeProperties: AMQPMap = [:]
    /// How messages leave the source; nil leaves it to the peer.
    public var distributionMode: AMQPDistributionMode?
    /// The filters that choose the messages, in order.
    public var filters: [AMQPFilter] = []
    /// What the terminus can do, or is asked to do.
    public var capabilities: [AMQPSymbol] = []

    /// Makes a source.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - filters: The filters that choose the messages.
    public init(address: String? = nil, filters: [AMQPFilter] = []) {
        self.comparedAddress = Bytewise(address)
        self.filters = filters
    }

    /// A node that the peer makes for this link; its address is in the link's ``AMQPLink/remoteSource``.
    public static var dynamic: Self {
        var source = Self()
        source.isDynamic = true
        return source
    }
}

extension AMQPSource: ExpressibleByStringLiteral {
    /// Makes a source of an address.
    public init(stringLiteral value: String) { self.init(address: value) }
}

/// Where the messages of a link go to. Source: AMQP 1.0 §3.5.4.
public struct AMQPTarget: Hashable, Sendable {
    /// The name of the node; nil for the anonymous terminus, to which each message names its own node in `to`.
    public var address: String? {
        get { self.comparedAddress.text }
        set { self.comparedAddress.text = newValue }
    }
    private var comparedAddress: Bytewise<String?>
    /// What lives on when the connection does not.
    public var durability: AMQPTerminusDurability = .none
    /// When the terminus begins to expire.
    public var expiryPolicy: AMQPTerminusExpiryPolicy = .sessionEnd
    /// How long the terminus lives once it has begun to expire, in whole seconds.
    public var timeout: Duration = .zero
    /// Whether the peer is asked to make a node and to tell its address.
    public var isDynamic = false
    /// Properties of the node that the peer is asked to make.
    public var dynamicNodeProperties: AMQPMap = [:]
    /// What the terminus can do, or is asked to do.
    public var capabilities: [AMQPSymbol] = []

    /// Makes a target.
    ///
    /// - Parameter address: The name of the node; nil for the anonymous terminus.
    public init(address: String? = nil) {
        self.comparedAddress = Bytewise(address)
    }

    /// The anonymous terminus: each message names its own node in `to`.
    public static var anonymous: Self { Self() }

    /// A node that the peer makes for this link; its address is in the link's ``AMQPLink/remoteTarget``.
    public static var dynamic: Self {
        var target = Self()
        target.isDynamic = true
        return target
    }
}

extension AMQPTarget: ExpressibleByStringLiteral {
    /// Makes a target of an address.
    public init(stringLiteral value: String) { self.init(address: value) }
}
