// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

/// The steps that open one client connection. The initializer checks all settings, before any name lookup or socket.
struct Connector {
    private let url: AMQPURL
    private let configuration: AMQPConnection.Configuration
    private let logger: Logger
    private let context: NIOSSLContext?
    private let resolver: (any Resolver & Sendable)?

    /// - Parameters:
    ///   - url: The peer.
    ///   - configuration: The settings of the connection.
    ///   - logger: Logs the steps of the protocol.
    ///   - resolver: Finds the addresses of the host; `nil` for the system's resolver.
    /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument`` for an unusable setting.
    init(
        url: AMQPURL,
        configuration: AMQPConnection.Configuration,
        logger: Logger,
        resolver: (any Resolver & Sendable)? = nil
    ) throws(AMQPError) {
        try url.validate()
        try url.validateAddress()
        var configuration = configuration
        try configuration.validate()
        let hasCertificate = url.isTLS && configuration.tls.identity != nil
        try configuration.sasl.validate(url, hasClientCertificate: hasCertificate)
        let name = url.isTLS ? try configuration.tls.name(for: url.host) : nil
        // The `open` frame names the host as TLS does, without a final dot. Source: AMQP 1.0 §2.7.1.
        let host = configuration.tls.serverName == nil ? name ?? url.host : url.host
        configuration.virtualHost = configuration.virtualHost ?? host
        guard ClientBootstrap(validatingGroup: configuration.eventLoopGroup) != nil else {
            throw .unusableEventLoopGroup
        }
        self.url = url
        self.configuration = configuration
        var logger = logger
        logger[.peer] = "\(NetworkError.place(url.host, url.port))"
        self.logger = logger
        self.context = url.isTLS ? try configuration.tls.makeContext() : nil
        self.resolver = resolver
    }

    /// Connects a socket and opens the connection. Cancellation closes the sockets.
    func connect() async throws(AMQPError) -> AMQPConnection {
        let attempts = ConnectAttempts(
            host: self.url.host,
            port: self.url.port,
            timeout: self.configuration.connectTimeout
        )
        let bootstrap = ClientBootstrap(group: self.configuration.eventLoopGroup)
            .resolver(self.resolver)
            .connectTimeout(.nanoseconds(self.configuration.connectTimeout.nanoseconds))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .urgentChannelOption()
            // The handler responds after each read: credit for the first messages is sent before the last messages are
            // read.
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: SocketReader.buffers)
            .channelOption(.writeBufferWaterMark, value: SocketWriter.waterMark(isTLS: self.context != nil))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try attempts.check()
                    let attempt = ConnectAttempt(attempts, check: self.check, addHandlers: self.addHandlers)
                    try channel.pipeline.syncOperations.addHandler(attempt)
                }
            }
        let connecting = bootstrap.connect(host: self.url.host, port: self.url.port)
        connecting.whenComplete { [logger] result in
            switch result {
            case .failure(let error):
                let cause =
                    error as? AMQPError
                    ?? AMQPError(scope: .connection, condition: .connectFailed, detail: NetworkError.cause(error))
                logger.debug("connecting failed", metadata: .amqp([.detail: "\(error)"], error: cause))
                attempts.fail(error)
            case .success(let channel):
                // A socket that closes before it is active has no handlers.
                let lost = AMQPError(
                    scope: .connection,
                    condition: .connectionLost,
                    detail: "the socket closed before the connection was opened"
                )
                channel.closeFuture.whenComplete { [weak attempts] _ in attempts?.fail(lost) }
            }
        }
        let parts: AMQPConnection.Parts
        do {
            parts = try await attempts.connected.value()
        } catch {
            attempts.giveUp()
            if error.condition != .cancelled { self.configuration.metrics?.count(connectionError: error) }
            throw error
        }
        return try await self.open(parts)
    }

    /// Throws for an address that must not receive a login.
    private func check(_ address: SocketAddress) throws(AMQPError) {
        let candidates = try self.configuration.sasl.candidates(
            username: self.url.username,
            password: self.url.password.map { Redacted($0) },
            hasClientCertificate: self.hasCertificate
        )
        try self.configuration.sasl.check(address, isTLS: self.url.isTLS, candidates ?? [])
    }

    private var hasCertificate: Bool { self.url.isTLS && self.configuration.tls.identity != nil }

    /// Adds the connection's handlers to the active channel that has won.
    private func addHandlers(_ channel: any Channel, _ address: SocketAddress?) throws -> ConnectionHandler {
        let pipeline = channel.pipeline.syncOperations
        let handler = try ConnectionHandler(
            role: .client,
            host: self.url.host,
            configuration: self.configuration,
            eventLoop: channel.eventLoop,
            logger: self.logger,
            permit: try ReadReservation.make(for: channel, self.configuration, isTLS: self.context != nil),
            confirmsByWritability: self.context == nil
        )
        // The connection's handler is added first, because it handles errors of TLS and SASL, which start at once. TLS
        // is added before SASL, so that no byte of SASL bypasses TLS.
        try pipeline.addHandler(handler)
        if let context = self.context {
            let tls = try self.configuration.tls.makeClientHandler(host: self.url.host, context: context)
            try pipeline.addHandler(tls, position: .before(handler))
        }
        let sasl = try self.configuration.sasl.makeClientHandler(
            username: self.url.username,
            password: self.url.password,
            hasClientCertificate: self.hasCertificate,
            hostname: self.configuration.virtualHost,
            address: address,
            logger: handler.logger
        )
        if let sasl { try pipeline.addHandler(sasl, position: .before(handler)) }
        return handler
    }

    private func open(_ parts: AMQPConnection.Parts) async throws(AMQPError) -> AMQPConnection {
        let timeout = self.configuration.openTimeout
        let timer = parts.channel.eventLoop.scheduleTask(in: .nanoseconds(timeout.nanoseconds)) {
            let text = "\(self.place) did not open the connection within \(timeout): \(self.portCheck)"
            parts.opened.resolve(.failure(AMQPError(condition: .timeout, detail: text)))
        }
        defer { timer.cancel() }
        do {
            return AMQPConnection(parts, try await parts.opened.value(), self.configuration)
        } catch {
            parts.channel.close(promise: nil)
            throw self.placed(error)
        }
    }

    private var place: String { NetworkError.place(self.url.host, self.url.port) }

    /// The remedy for a peer that does not answer with AMQP.
    private var portCheck: String {
        self.url.isTLS
            ? "check that this port speaks AMQP 1.0 over TLS" : "check that this port speaks AMQP 1.0 without TLS"
    }

    /// Adds the place and a remedy to the error of a connection that was lost before it was open.
    private func placed(_ error: AMQPError) -> AMQPError {
        guard error.condition == .connectionLost, error.origin == .local else { return error }
        var error = error
        // Some details already contain a remedy.
        let remedy = error.detail.contains(": ") ? "" : ": \(self.portCheck)"
        (error.detail, error.ending) = ("\(self.place) did not open the connection: \(error.detail)\(remedy)", .refused)
        return error
    }
}

extension AMQPError {
    static let unusableEventLoopGroup = AMQPError(
        condition: .invalidArgument,
        detail: "eventLoopGroup cannot make sockets: use a MultiThreadedEventLoopGroup or one of its loops"
    )
}
