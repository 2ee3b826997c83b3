// Connections, sessions, links and listeners are equal when they are the same object.

extension AMQPConnection: Hashable {
    /// Whether both are the same object.
    public static func == (left: AMQPConnection, right: AMQPConnection) -> Bool { left === right }

    /// Hashes the identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension AMQPListener: Hashable {
    /// Whether both are the same object.
    public static func == (left: AMQPListener, right: AMQPListener) -> Bool { left === right }

    /// Hashes the identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension AMQPSession: Hashable {
    /// Whether both are the same object.
    public static func == (left: AMQPSession, right: AMQPSession) -> Bool { left === right }

    /// Hashes the identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension AMQPSender: Hashable {
    /// Whether both are the same object.
    public static func == (left: AMQPSender, right: AMQPSender) -> Bool { left === right }

    /// Hashes the identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension AMQPReceiver: Hashable {
    /// Whether both are the same object.
    public static func == (left: AMQPReceiver, right: AMQPReceiver) -> Bool { left === right }

    /// Hashes the identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
