// SPDX-License-Identifier: Apache-2.0

extension AMQPClient {
    /// The settings of a client.
    public struct Configuration: Sendable {
        /// The settings of each connection. The idle timeout is 15 s by default, so the client reports a silent peer as
        /// lost within 20 s.
        public var connection: AMQPConnection.Configuration
        /// The settings of each session. The ``AMQPSession/Configuration/incomingCapacity`` is 1 MiB by default,
        /// because the client begins up to ``sessionLimit`` sessions.
        public var session = AMQPSession.Configuration(incomingCapacity: .mebibytes(1))
        /// How the client reconnects after a loss.
        public var recovery = Recovery()
        /// Returns the login method, in place of the connection's `sasl`. The client calls it before each attempt.
        ///
        /// If the peer refuses the login, the client calls it once more. It uses new credentials for the next attempt;
        /// the same credentials end the client. If the closure throws, the attempt fails: see
        /// ``AMQPError/isRetryable``.
        public var credentials: (@Sendable () async throws -> AMQPSASL)?
        /// Returns the TLS settings, for example with a renewed certificate, in place of the connection's `tls`. The
        /// client calls it before each attempt.
        public var tls: (@Sendable () async throws -> AMQPTLS)?
        /// Prepares each new connection before the client attaches a link; `nil`, the default, for no preparation.
        ///
        /// The client passes the connection and its generation. The closure can declare queues, for example: see
        /// `RabbitMQTopology` of QpidProtonRabbitMQ. The client opens only after the closure returns, so the closure
        /// cannot open a sender or receiver of the client.
        ///
        /// If the closure throws, the attempt fails and the client retries: see
        /// ``AMQPClient/Event/onConnectFailed(generation:url:_:)``. An `AMQPError` that is not
        /// ``AMQPError/isRetryable`` ends the client.
        public var onConnect: (@Sendable (_ connection: AMQPConnection, _ generation: Int) async throws -> Void)?
        /// How long ``onConnect`` may take: 30 s by default. At the limit the client cancels its task, and the attempt
        /// fails.
        public var onConnectLimit: Duration = .seconds(30)
        /// The most sessions: 16 by default, at least 1. Each link has its own session up to this number, because a
        /// broker such as RabbitMQ ends a whole session for one refused link. The client probes each further link on
        /// its own session first, and then attaches it to a shared session.
        public var sessionLimit = 16
        /// How long a graceful shutdown of a service group may take for the client and its consumers together: 25 s by
        /// default. See ``AMQPClient/run()``.
        public var shutdownLimit: Duration = .seconds(25)

        /// Creates a configuration with the defaults.
        public init() {
            self.connection = AMQPConnection.Configuration()
            self.connection.idleTimeout = .seconds(15)
        }
    }

    /// How a client restores a lost connection, session or link.
    ///
    /// The first attempt follows at once, but only once in each 30 s. Each further attempt waits for a random time
    /// below a bound that doubles with each attempt. The bound returns to ``firstDelay`` only after 30 s without a
    /// loss.
    public struct Recovery: Hashable, Sendable {
        /// The first bound of the random delay: 100 ms by default.
        public var firstDelay: Duration = .milliseconds(100)
        /// The highest bound of the random delay: 30 s by default.
        public var longestDelay: Duration = .seconds(30)
        /// How long the first connection may take with all its attempts: 60 s by default; `nil` for no limit.
        public var firstConnectionTimeout: Duration? = .seconds(60)
        /// How long an outage may last until the client ends; `nil`, the default, for no limit.
        public var giveUpAfter: Duration?
        /// The use of other hosts that the peer announces: the client ignores them by default.
        public var announcedHosts = AnnouncedHosts.ignore

        /// Creates the default settings.
        public init() {}
    }
}

extension AMQPClient {
    /// The use of hosts that a client's peer announces. A peer announces hosts in the property `failover-server-list`
    /// of its open frame, or in a redirect of the connection. The client keeps the latest list, with 32 hosts at most.
    ///
    /// The client reaches a host that was announced over TLS only over TLS. It uses the login of the announcing
    /// connection, but never sends a password without TLS. Allow announced hosts only for peers that you trust, because
    /// they choose where the client connects.
    ///
    /// Source: AMQP 1.0 §2.8.16, and the failover of Qpid JMS.
    public enum AnnouncedHosts: String, Hashable, Sendable {
        /// The client ignores announced hosts, and a redirect ends the client.
        case ignore
        /// The client alternates between announced hosts and the URLs.
        case add
        /// The client uses announced hosts in place of the URLs, until none of the announced hosts answers.
        case replace
    }
}

extension AMQPClient.Configuration {
    /// Whether a login may have a password in addition to that of a URL.
    var mayHavePassword: Bool { self.credentials != nil || self.connection.sasl.hasPassword }

    func validate() throws(AMQPError) {
        func require(_ condition: Bool, _ text: String) throws(AMQPError) {
            if !condition { throw AMQPError(condition: .invalidArgument, detail: text) }
        }
        try require(self.sessionLimit >= 1, "sessionLimit is \(self.sessionLimit): it must be at least 1")
        try require(
            self.onConnectLimit > .zero,
            "onConnectLimit is \(self.onConnectLimit): it must be more than 0"
        )
        try require(
            self.shutdownLimit > .zero,
            "shutdownLimit is \(self.shutdownLimit): it must be more than 0"
        )
        let recovery = self.recovery
        try require(
            recovery.firstDelay > .zero,
            "recovery.firstDelay is \(recovery.firstDelay): it must be more than 0"
        )
        try require(
            recovery.longestDelay >= recovery.firstDelay,
            "recovery.longestDelay is \(recovery.longestDelay): it must be at least recovery.firstDelay"
        )
        for (name, time) in [
            ("firstConnectionTimeout", recovery.firstConnectionTimeout), ("giveUpAfter", recovery.giveUpAfter),
        ] {
            guard let time else { continue }
            try require(time > .zero, "recovery.\(name) is \(time): it must be more than 0, or nil for no limit")
        }
    }
}

extension AMQPClient.Recovery {
    var backoff: Backoff.Limits { Backoff.Limits(first: self.firstDelay, longest: self.longestDelay) }
}
