extension AMQPSession {
    /// What a session is begun with.
    public struct Configuration: Hashable, Sendable {
        /// The bytes that the peer may have on their way to this session, and that wait in Proton.
        ///
        /// The incoming window that it is told is as many transfers as these bytes hold by the size that transfers had lately,
        /// at first by the connection's max-frame-size. At least twice that, and fixed once the session has begun. Over a long
        /// round trip, what comes in one of them is the least that costs no speed.
        /// Source: `pn_session_set_incoming_capacity`.
        public var incomingCapacity: AMQPByteCount = .mebibytes(4)
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
            incomingCapacity: AMQPByteCount = .mebibytes(4),
            sendLimit: AMQPSendLimit = .init(high: .mebibytes(1))
        ) {
            self.incomingCapacity = incomingCapacity
            self.sendLimit = sendLimit
        }
    }
}
