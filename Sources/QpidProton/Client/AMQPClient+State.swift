// SPDX-License-Identifier: Apache-2.0

extension AMQPClient {
    /// The state of a client's connection.
    public enum State: Hashable, Sendable {
        /// The client has not been used yet.
        case idle
        /// The first connection is on its way.
        case connecting
        /// A connection is open. The generation is 1 for the first, and increases by 1 with each further connection.
        case open(generation: Int)
        /// The connection was lost, for this reason, and the client tries to connect again.
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
        /// The connection was lost. `inDoubt` is the number of messages that were sent and not settled, `bytes` their size.
        case lost(AMQPError, inDoubt: Int, bytes: AMQPByteCount)
        /// A link was lost while its connection remained, and is attached again.
        case linkLost(name: String, address: String?, AMQPError, inDoubt: Int)
        /// A link has ended for good, because the error is not worth another try.
        case linkFailed(name: String, address: String?, AMQPError)
        /// A link with a dynamic node has another address than before.
        case addressChanged(name: String, from: String?, to: String?)
        /// All links are attached again, and the receivers have their credit. `replayed` is the number of messages in
        /// doubt that are sent again.
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
        /// The number of those that are not attached now.
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
