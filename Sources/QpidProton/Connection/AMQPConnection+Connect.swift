// SPDX-License-Identifier: Apache-2.0

public import Logging

extension AMQPConnection {
    /// Connects to a peer: TCP, TLS if the scheme is `amqps`, SASL, and the open.
    ///
    /// Suspends until the peer has opened the connection too. If the host has several addresses, the connection uses
    /// the first that answers (RFC 8305), and the library closes the other sockets. Cancellation closes all sockets.
    ///
    /// The call checks the URL and the configuration before it looks up a name or opens a socket. For an unusable value
    /// it throws ``AMQPCondition/invalidArgument`` with the scope ``AMQPError/Scope/call``: another attempt cannot
    /// succeed. One check follows for each address that the lookup finds: whether PLAIN may be used without TLS.
    ///
    /// - Parameters:
    ///   - url: For example `amqp://user:password@localhost:5672`. The call refuses a URL with an address: pass the
    ///     address to `openSender` or `openReceiver`.
    ///   - configuration: The settings of the connection.
    ///   - logger: Receives the protocol's steps at debug level, and frames at trace level if requested; never a
    ///     password.
    /// - Throws: `AMQPError`. ``AMQPCondition/invalidArgument`` for an unusable value. ``AMQPCondition/connectFailed``
    ///   if no address of the host accepts a connection; the error names each address and its cause.
    ///   ``AMQPCondition/tlsFailed``, ``AMQPCondition/unauthorizedAccess`` or ``AMQPCondition/timeout``.
    ///   ``AMQPCondition/connectionFramingError`` if the peer does not speak AMQP 1.0, ``AMQPCondition/connectionLost``
    ///   if it closes the socket. Otherwise the error of the peer's close.
    public static func connect(
        to url: String,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
    ) async throws(AMQPError) -> AMQPConnection {
        try await self.connect(to: AMQPURL(url), configuration: configuration, logger: logger)
    }

    /// Connects to a host and port without TLS. Otherwise it is the same as
    /// ``connect(to:configuration:logger:)-(String,_,_)``.
    ///
    /// - Parameters:
    ///   - host: A name or an IP address, an IPv6 address without brackets.
    ///   - port: The port, from 1 to 65535.
    ///   - configuration: The settings of the connection.
    ///   - logger: Receives the protocol's steps.
    public static func connect(
        host: String,
        port: Int = AMQPURL.defaultPort,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
    ) async throws(AMQPError) -> AMQPConnection {
        try await self.connect(to: AMQPURL(host: host, port: port), configuration: configuration, logger: logger)
    }

    /// Connects to a peer. The same as ``connect(to:configuration:logger:)-(String,_,_)``.
    ///
    /// - Parameters:
    ///   - url: The peer's URL, without an ``AMQPURL/address``.
    ///   - configuration: The settings of the connection.
    ///   - logger: Receives the protocol's steps.
    public static func connect(
        to url: AMQPURL,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
    ) async throws(AMQPError) -> AMQPConnection {
        let connector = try Connector(url: url, configuration: configuration, logger: logger)
        return try await connector.connect()
    }

    /// Connects, runs `body`, and closes the connection, also if `body` throws or the task is cancelled.
    ///
    /// At the end of the scope the senders send their accepted messages. The scope then waits until all messages are
    /// settled and the connection is closed. Both steps together last at most the limit, or one second if the task is
    /// cancelled.
    ///
    /// The trackers of the remaining messages fail, and the library logs one warning per link that counts these
    /// messages. With `.zero` the senders send nothing more, and the peer has `operationTimeout` to answer the close.
    ///
    /// - Parameters:
    ///   - url: The peer's URL, for example `amqp://user:password@localhost:5672`.
    ///   - configuration: The settings of the connection.
    ///   - logger: Receives the protocol's steps.
    ///   - limit: How long the end of the scope may take; 30 seconds by default.
    ///   - body: The closure that uses the connection.
    /// - Throws: The error of `body`. If `body` threw none, an `AMQPError`: the numbers of messages that were not sent
    ///   or not settled in time, or the error of the close.
    @discardableResult
    public static func withConnection<Result>(
        to url: String,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() },
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        let connection = try await self.connect(to: url, configuration: configuration, logger: logger)
        return try await connection.scope(within: limit, body)
    }

    /// Connects, runs `body`, and closes the connection, as the other `withConnection` does.
    ///
    /// - Parameters:
    ///   - url: The peer's URL, without an ``AMQPURL/address``.
    ///   - configuration: The settings of the connection.
    ///   - logger: Receives the protocol's steps.
    ///   - limit: How long the end of the scope may take; 30 seconds by default.
    ///   - body: The closure that uses the connection.
    @discardableResult
    public static func withConnection<Result>(
        to url: AMQPURL,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() },
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        let connection = try await self.connect(to: url, configuration: configuration, logger: logger)
        return try await connection.scope(within: limit, body)
    }

    /// Connects to a host and port without TLS, runs `body`, and closes the connection, as the other `withConnection`
    /// does.
    ///
    /// - Parameters:
    ///   - host: A name or an IP address, an IPv6 address without brackets.
    ///   - port: The port, from 1 to 65535.
    ///   - configuration: The settings of the connection.
    ///   - logger: Receives the protocol's steps.
    ///   - limit: How long the end of the scope may take; 30 seconds by default.
    ///   - body: The closure that uses the connection.
    @discardableResult
    public static func withConnection<Result>(
        host: String,
        port: Int = AMQPURL.defaultPort,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() },
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        let connection = try await self.connect(host: host, port: port, configuration: configuration, logger: logger)
        return try await connection.scope(within: limit, body)
    }

    /// Runs `body`, and closes the connection.
    func scope<Result>(
        within limit: Duration,
        _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        try await LifetimeScope.run(.connection, within: limit) {
            try await body(self)
        } end: {
            self.error
        } close: {
            await self.endScope(self.closeRequest(stopsReceivers: false), within: limit)
        }
    }
}
