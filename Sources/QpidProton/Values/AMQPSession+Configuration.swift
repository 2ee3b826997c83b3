// SPDX-License-Identifier: Apache-2.0

extension AMQPSession {
    /// The settings of a session.
    public struct Configuration: Hashable, Sendable {
        /// The bytes that may be on their way from the peer to this session and wait in Proton: 4 MiB by default.
        ///
        /// The value must be at least twice the connection's max-frame-size, and is fixed once the session has begun.
        /// This side advertises an incoming window of the number of transfers that fit into these bytes. It calculates
        /// with the recent size of transfers, at first with the max-frame-size.
        ///
        /// For full speed over a long round trip, set at least the number of bytes that arrive in one round trip.
        ///
        /// Source: `pn_session_set_incoming_capacity`.
        public var incomingCapacity: AMQPByteCount = .mebibytes(4)
        /// The outgoing-window that this side announces, in transfers: 2,048 by default; never 0.
        ///
        /// Source: `pn_session_set_outgoing_window`.
        public var outgoingWindow: UInt32 = 2_048
        /// The limit for accepted bytes of the session's links that are not yet written to the socket: 1 MiB by
        /// default.
        public var sendLimit: AMQPSendLimit = .init(high: .mebibytes(1))

        /// Creates a configuration.
        ///
        /// - Parameters:
        ///   - incomingCapacity: The bytes that may be on their way from the peer to this session.
        ///   - sendLimit: The limit for accepted bytes that are not yet written to the socket.
        public init(
            incomingCapacity: AMQPByteCount = .mebibytes(4),
            sendLimit: AMQPSendLimit = .init(high: .mebibytes(1))
        ) {
            self.incomingCapacity = incomingCapacity
            self.sendLimit = sendLimit
        }
    }
}
