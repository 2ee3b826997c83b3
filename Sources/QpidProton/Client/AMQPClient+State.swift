// SPDX-License-Identifier: Apache-2.0

extension AMQPClient {
    /// The state of a client's connection.
    public enum State: Hashable, Sendable {
        /// The application has not used the client yet.
        case idle
        /// The client attempts to open its first connection.
        case connecting
        /// A connection is open. The generation is 1 for the first, and increases by 1 with each further connection.
        case open(generation: Int)
        /// The connection was lost for this reason, and the client attempts to reconnect.
        case recovering(AMQPError)
        /// The client finishes its work and closes.
        case closing
        /// The client has ended: closed by this side, or because of an error.
        case closed(AMQPError?)
    }

    /// An event of a client: see ``events``.
    public enum Event: Sendable {
        /// An attempt to connect has begun; the number counts from the start or the last loss.
        case attempt(number: Int, url: AMQPURL)
        /// An attempt has failed.
        case attemptFailed(number: Int, url: AMQPURL, AMQPError)
        /// ``Configuration/onConnect`` has failed, and its connection is closed. The attempt has failed, too.
        case onConnectFailed(generation: Int, url: AMQPURL, AMQPError)
        /// A connection has opened, and ``Configuration/onConnect`` has prepared it.
        case open(generation: Int, url: AMQPURL)
        /// The connection was lost. `inDoubt` is the number of sent, unsettled messages, `bytes` their size.
        case lost(AMQPError, inDoubt: Int, bytes: AMQPByteCount)
        /// A link was lost but its connection was not, and the client has attached the link again.
        case linkLost(name: String, address: String?, AMQPError, inDoubt: Int)
        /// A link has ended for good, because its error is not retryable.
        case linkFailed(name: String, address: String?, AMQPError)
        /// A link with a dynamic node has a new address.
        case addressChanged(name: String, from: String?, to: String?)
        /// The client has attached all links again and granted their credit. `replayed` is the number of messages in
        /// doubt that it sends again.
        case recovered(generation: Int, replayed: Int, after: Duration)
        /// The client has ended.
        case closed(AMQPError?)
    }

    /// The health of a client, for a readiness probe.
    public struct Health: Hashable, Sendable {
        /// The state of the connection.
        public let state: State
        /// The number of senders and receivers.
        public let links: Int
        /// The number of senders and receivers that are not attached.
        public let linksDown: Int
        /// How long the connection has been lost; `nil` while it is open.
        public let downFor: Duration?

        /// Whether the connection is open and every link is attached.
        public var isReady: Bool {
            if case .open = self.state { self.linksDown == 0 } else { false }
        }
    }
}

extension ClientState.Phase {
    var state: AMQPClient.State {
        switch self {
        case .idle: .idle
        case .connecting: .connecting
        case .open(let generation, _): .open(generation: generation)
        case .recovering(_, let cause, _): .recovering(cause)
        case .closing: .closing
        case .closed(let error): .closed(error)
        }
    }
}
