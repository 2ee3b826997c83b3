extension AMQPSession {
    /// What a session is begun with.
    public struct Configuration: Hashable, Sendable {
        /// The bytes that the peer may have on their way to this session.
        ///
        /// The incoming window that it is told is this divided by the connection's max-frame-size, in frames. At least twice
        /// that size, and fixed once the session has begun.
        /// Source: `pn_session_set_incoming_capacity`.
        public var incomingCapacity: ByteCount = .mebibytes(64)
        /// The outgoing-window that the peer is told, in transfers; never 0. Source: `pn_session_set_outgoing_window`.
        public var outgoingWindow: UInt32 = 2_048
        /// The bytes that may be accepted on the session's links and not yet written to the socket.
        public var sendLimit: AMQPSendLimit = .init(high: .mebibytes(1))

        /// Makes a configuration.
        ///
        /// - Parameters:
        ///   - incomingCapacity: The bytes that the peer may have on their way to this session.
        ///   - sendLimit: The bytes that may be accepted and not yet written to the socket.
        public init(
            incomingCapacity: ByteCount = .mebibytes(64),
            sendLimit: AMQPSendLimit = .init(high: .mebibytes(1))
        ) {
            self.incomingCapacity = incomingCapacity
            self.sendLimit = sendLimit
        }
    }
}
