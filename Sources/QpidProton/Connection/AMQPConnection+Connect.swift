public import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

#if canImport(Darwin)
    internal import Darwin
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

extension AMQPConnection {
    /// Connects to a peer: TCP, TLS where the URL says `amqps`, SASL, and the open.
    ///
    /// Suspends until the peer has opened the connection too. Cancellation gives the connection up.
    ///
    /// - Parameters:
    ///   - url: For example `amqp://user:password@localhost:5672`. The address of the URL is not used.
    ///   - configuration: The settings of the connection.
    ///   - logger: Gets the protocol's steps at debug level, and frames at trace level when asked for; never a password.
    /// - Throws: `AMQPError`: ``AMQPCondition/connectFailed``, ``AMQPCondition/tlsFailed``,
    ///   ``AMQPCondition/unauthorizedAccess``, ``AMQPCondition/timeout``, what the peer closed with, or
    ///   ``AMQPCondition/invalidArgument`` for a setting that cannot be used.
    public static func connect(
        to url: String,
        configuration: Configuration = .init(),
        logger: Logger? = nil
    ) async throws(AMQPError) -> AMQPConnection {
        try await self.connect(to: AMQPURL(url), configuration: configuration, logger: logger)
    }

    /// Connects to a host and port without TLS. As ``connect(to:configuration:logger:)-(String,_,_)`` else.
    ///
    /// - Parameters:
    ///   - host: A name or an IP address.
    ///   - port: The port.
    ///   - configuration: The settings of the connection.
    ///   - logger: Gets the protocol's steps.
    public static func connect(
        host: String,
        port: Int = AMQPURL.defaultPort,
        configuration: Configuration = .init(),
        logger: Logger? = nil
    ) async throws(AMQPError) -> AMQPConnection {
        try await self.connect(to: AMQPURL(host: host, port: port), configuration: configuration, logger: logger)
    }

    /// Connects to a peer. As ``connect(to:configuration:logger:)-(String,_,_)``.
    ///
    /// - Parameters:
    ///   - url: Where to connect to.
    ///   - configuration: The settings of the connection.
    ///   - logger: Gets the protocol's steps.
    public static func connect(
        to url: AMQPURL,
        configuration: Configuration = .init(),
        logger: Logger? = nil
    ) async throws(AMQPError) -> AMQPConnection {
        let logger = logger ?? Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
        let connector = try Connector(url: url, configuration: configuration, logger: logger)
        return try await connector.connect()
    }

    /// Connects, runs `body`, and closes the connection, also when `body` throws or the task is cancelled.
    ///
    /// - Parameters:
    ///   - url: Where to connect to, for example `amqp://user:password@localhost:5672`.
    ///   - configuration: The settings of the connection.
    ///   - logger: Gets the protocol's steps.
    ///   - body: What to do with the connection.
    @discardableResult
    public static func withConnection<Result>(
        to url: String,
        configuration: Configuration = .init(),
        logger: Logger? = nil,
        _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        let connection = try await self.connect(to: url, configuration: configuration, logger: logger)
        return try await Scope.run({ try await body(connection) }, finally: { try await connection.close() })
    }
}

/// Makes one client connection.
private struct Connector {
    let url: AMQPURL
    let configuration: AMQPConnection.Configuration
    let logger: Logger
    let context: NIOSSLContext?

    init(url: AMQPURL, configuration: AMQPConnection.Configuration, logger: Logger) throws(AMQPError) {
        var configuration = configuration
        configuration.virtualHost = configuration.virtualHost ?? url.host
        try configuration.validate()
        self.url = url
        self.configuration = configuration
        var logger = logger
        logger[metadataKey: "amqp.host"] = "\(url.host):\(url.port)"
        self.logger = logger
        self.context = url.isTLS ? try configuration.tls.makeContext() : nil
    }

    func connect() async throws(AMQPError) -> AMQPConnection {
        let reply = Reply<AMQPConnection.Parts>()
        let bootstrap = ClientBootstrap(group: self.configuration.eventLoopGroup)
            .connectTimeout(.nanoseconds(self.configuration.connectTimeout.nanoseconds))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .urgentChannelOption()
            // Answered piece by piece: credit for the first messages goes out before the last are read.
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: ConnectionHandler.reads)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = try self.addHandlers(channel)
                    reply.resolve(.success(AMQPConnection.Parts(handler, channel)))
                }
            }
        let channel = bootstrap.connect(host: self.url.host, port: self.url.port)
        channel.whenFailure { reply.resolve(.failure(self.connectError($0))) }
        // The channel is made before it is connected: both must have come about.
        let connected = Reply<Void>()
        channel.whenComplete { result in
            connected.resolve(result.map { _ in }.mapError { self.connectError($0) })
        }
        do {
            try await connected.value()
        } catch {
            channel.whenSuccess { $0.close(promise: nil) }
            throw error
        }
        return try await self.open(try await reply.value())
    }

    private func addHandlers(_ channel: any Channel) throws -> ConnectionHandler {
        let pipeline = channel.pipeline.syncOperations
        if let context = self.context {
            try pipeline.addHandler(self.configuration.tls.makeClientHandler(host: self.url.host, context: context))
        }
        let sasl = try self.configuration.sasl.makeClientHandler(
            username: self.url.username,
            password: self.url.password,
            hasClientCertificate: self.configuration.tls.identity != nil && self.url.isTLS,
            hostname: self.configuration.virtualHost,
            logger: self.logger
        )
        let handler = try ConnectionHandler(
            role: .client,
            host: self.url.host,
            configuration: self.configuration,
            eventLoop: channel.eventLoop,
            logger: self.logger,
            permit: try ReadPermit.make(for: channel, self.configuration, isTLS: self.context != nil)
        )
        if let sasl { try pipeline.addHandler(sasl) }
        try pipeline.addHandler(handler)
        return handler
    }

    private func open(_ parts: AMQPConnection.Parts) async throws(AMQPError) -> AMQPConnection {
        let timeout = self.configuration.openTimeout
        let timer = parts.channel.eventLoop.scheduleTask(in: .nanoseconds(timeout.nanoseconds)) {
            let text = "\(self.url.host):\(self.url.port) did not open the connection within \(timeout)"
            parts.opened.resolve(.failure(AMQPError(.local, .timeout, text)))
        }
        defer { timer.cancel() }
        do {
            return AMQPConnection(parts, try await parts.opened.value(), self.configuration)
        } catch {
            parts.channel.close(promise: nil)
            throw error
        }
    }

    private func connectError(_ error: any Error) -> AMQPError {
        if let error = error as? AMQPError { return error }
        let place = "\(self.url.host):\(self.url.port)"
        switch error {
        case let error as NIOConnectionError where error.connectionErrors.isEmpty:
            let text = "\(place): the host's name was not found: check the spelling and the resolver"
            return AMQPError(.connection, .connectFailed, text)
        case let error as NIOConnectionError:
            // A name with several addresses fails once for each, most often for one reason.
            var causes: [String] = []
            for failure in error.connectionErrors where !causes.contains(Self.cause(failure.error)) {
                causes.append(Self.cause(failure.error))
            }
            return AMQPError(.connection, .connectFailed, "\(place): \(causes.joined(separator: "; "))")
        case ChannelError.connectTimeout:
            let text = "\(place) did not answer within \(self.configuration.connectTimeout)"
            return AMQPError(.connection, .timeout, text)
        default:
            return AMQPError(.connection, .connectFailed, "\(place): \(Self.cause(error))")
        }
    }

    private static func cause(_ error: any Error) -> String {
        guard let error = error as? IOError, let text = strerror(error.errnoCode) else { return "\(error)" }
        return String(cString: text)
    }
}
