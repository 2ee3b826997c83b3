// SPDX-License-Identifier: Apache-2.0

public import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

/// A listening socket: an asynchronous sequence of connections whose peers have logged in and opened them.
///
/// The listener delivers a connection when its peer has logged in and opened it. If a peer takes longer than
/// `openTimeout`, the listener closes the connection and never delivers it. The connection's
/// ``AMQPConnection/incoming`` delivers the peer's later requests.
public final class AMQPListener: AsyncSequence, Sendable {
    /// A connection that its peer has opened.
    public typealias Element = AMQPConnection
    /// The error that ends the sequence.
    public typealias Failure = AMQPError

    /// The settings of a listener.
    public struct Configuration: Sendable {
        /// The settings of the connections. The connections always accept sessions and links of the peers.
        public var connection = AMQPConnection.Configuration()
        /// The logins that the listener accepts.
        public var sasl = AMQPServerSASL.anonymous
        /// The TLS settings of all connections; `nil` for no TLS.
        public var tls: AMQPServerTLS?
        /// The maximum number of opened connections that may wait in the listener: 256 by default, at least 1. The
        /// listener refuses further connections.
        public var backlog = 256
        /// How long a graceful shutdown of a service group may take: 25 s by default. See ``AMQPListener/run(_:)``.
        public var shutdownLimit: Duration = .seconds(25)

        /// Creates a configuration with the defaults: without TLS, and with ANONYMOUS logins.
        public init() {}
    }

    private let channel: any Channel
    private let inbox: WaitingQueue<AMQPConnection>
    let accepted: AcceptedConnections
    /// The reply that is resolved when the socket has closed.
    let ended = Reply<Void>()
    let shutdownLimit: Duration
    let logger: Logger

    private init(_ channel: any Channel, _ acceptor: Acceptor) {
        self.channel = channel
        self.inbox = acceptor.inbox
        self.accepted = acceptor.accepted
        self.shutdownLimit = acceptor.configuration.shutdownLimit
        self.logger = acceptor.logger
        // Runs also when the event loop shuts down before `close()`.
        channel.closeFuture.whenComplete { [inbox, ended] _ in
            inbox.finish()
            ended.resolve(.success(()))
        }
    }

    deinit {
        self.channel.close(promise: nil)
    }

    /// Binds a socket and begins to accept connections.
    ///
    /// Suspends until the socket is bound.
    ///
    /// - Parameters:
    ///   - host: A name or an IP address of this machine; if a name has several addresses, the first.
    ///   - port: The port, up to 65535; 0 for a free one, which ``port`` then returns.
    ///   - configuration: The settings.
    ///   - logger: Receives the protocol's steps at debug level.
    /// - Throws: `AMQPError` with the scope ``AMQPError/Scope/call``. ``AMQPCondition/resourceLocked`` if the address
    ///   is in use. ``AMQPCondition/unauthorizedAccess`` if the system does not permit the bind.
    ///   ``AMQPCondition/resourceLimitExceeded`` if the system has no more sockets. ``AMQPCondition/invalidArgument``
    ///   for an unusable setting or an address that does not belong to this machine.
    public static func bind(
        host: String = "127.0.0.1",
        port: Int = AMQPURL.defaultPort,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
    ) async throws(AMQPError) -> AMQPListener {
        try AddressChecks.check(host: host)
        try AddressChecks.check(port: port, least: 0)
        var settings = configuration
        settings.connection.acceptsIncoming = true
        let acceptor = try Acceptor(configuration: settings, logger: logger)
        guard let unbound = ServerBootstrap(validatingGroup: settings.connection.eventLoopGroup) else {
            throw .unusableEventLoopGroup
        }
        let bootstrap =
            unbound
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .urgentChildChannelOption()
            // The handler responds after each read: credit for the first messages is sent before the last messages are
            // read.
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: SocketReader.buffers)
            .childChannelOption(
                .writeBufferWaterMark,
                value: SocketWriter.waterMark(isTLS: acceptor.context != nil)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try acceptor.accept(channel) }
            }
        do {
            return AMQPListener(try await bootstrap.bind(host: host, port: port).get(), acceptor)
        } catch {
            let cause = NetworkError.bind(error, host, port)
            logger.debug("binding failed", metadata: .amqp([.detail: "\(error)"], error: cause))
            throw cause
        }
    }

    /// Runs `body` with a listener, and closes the listener. The accepted connections stay open.
    ///
    /// - Parameters:
    ///   - host: A name or an IP address of this machine; if a name has several addresses, the first.
    ///   - port: The port, up to 65535; 0 for a free one, which ``port`` then returns.
    ///   - configuration: The settings.
    ///   - logger: Receives the protocol's steps at debug level.
    ///   - body: The closure that handles the connections.
    /// - Returns: The value that `body` returns.
    /// - Throws: The error of `body`, or the same errors as ``bind(host:port:configuration:logger:)``.
    @discardableResult
    public static func withListener<Result>(
        host: String = "127.0.0.1",
        port: Int = AMQPURL.defaultPort,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() },
        _ body: (AMQPListener) async throws -> Result
    ) async throws -> Result {
        let listener = try await self.bind(host: host, port: port, configuration: configuration, logger: logger)
        let result: Result
        do {
            result = try await body(listener)
        } catch {
            await listener.close()
            throw error
        }
        await listener.close()
        return result
    }

    /// The port that the socket is bound to; 0 after the listener has closed.
    public var port: Int { self.channel.localAddress?.port ?? 0 }

    /// Returns connections one by one.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let listener: AMQPListener

        /// Returns the next connection; `nil` if the listener is closed and no connection waits. Suspends until one
        /// arrives.
        ///
        /// - Throws: `AMQPError` with ``AMQPCondition/cancelled`` if the task was cancelled: it receives no further
        ///   connection, and waiting connections remain for other tasks.
        public func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> AMQPConnection? {
            try await self.listener.next()
        }
    }

    /// Returns the next connection; `nil` if the listener is closed and no connection waits. Suspends until one
    /// arrives.
    ///
    /// - Throws: `AMQPError` with ``AMQPCondition/cancelled`` if the task was cancelled: it receives no further
    ///   connection, and waiting connections remain for other tasks.
    public func next() async throws(AMQPError) -> AMQPConnection? { try await self.inbox.next() }

    /// Returns an iterator over the connections that no task has received. The listener stays open when the loop ends.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(listener: self) }

    /// Stops accepting, and suspends until the socket is closed. The accepted connections stay open.
    public func close() async {
        self.inbox.finish()
        try? await self.channel.close().get()
    }
}

/// The factory that turns accepted sockets into connections.
private struct Acceptor {
    let configuration: AMQPListener.Configuration
    let logger: Logger
    let context: NIOSSLContext?
    let inbox = WaitingQueue<AMQPConnection>()
    let accepted = AcceptedConnections()

    init(configuration: AMQPListener.Configuration, logger: Logger) throws(AMQPError) {
        try configuration.connection.validate()
        try configuration.sasl.validate(
            showsCertificates: configuration.tls.map { $0.clientCertificates != .none } ?? false
        )
        guard configuration.backlog > 0 else {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "backlog is \(configuration.backlog): it must be at least 1"
            )
        }
        guard configuration.shutdownLimit > .zero else {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "shutdownLimit is \(configuration.shutdownLimit): it must be more than 0"
            )
        }
        self.configuration = configuration
        self.logger = logger
        self.context = try configuration.tls?.makeContext()
    }

    func accept(_ channel: any Channel) throws {
        var logger = self.logger
        logger[.peer] = channel.remoteAddress.map { "\(NetworkError.place($0))" } ?? "unknown"
        let pipeline = channel.pipeline.syncOperations
        if let context = self.context, let tls = self.configuration.tls {
            try pipeline.addHandler(tls.makeServerHandler(context: context))
        }
        let handler = try ConnectionHandler(
            role: .server,
            configuration: self.configuration.connection,
            eventLoop: channel.eventLoop,
            logger: logger,
            permit: try ReadReservation.make(for: channel, self.configuration.connection, isTLS: self.context != nil),
            confirmsByWritability: self.context == nil
        )
        try pipeline.addHandler(self.configuration.sasl.makeServerHandler(logger: handler.logger))
        try pipeline.addHandler(handler)
        self.await(AMQPConnection.Parts(handler, channel))
    }

    /// Delivers the connection when its peer has opened it.
    private func await(_ parts: AMQPConnection.Parts) {
        let timeout = self.configuration.connection.openTimeout
        let timer = parts.channel.eventLoop.scheduleTask(in: .nanoseconds(timeout.nanoseconds)) {
            let text = "the peer did not open the connection within \(timeout)"
            if parts.opened.resolve(.failure(AMQPError(condition: .timeout, detail: text))) {
                parts.channel.close(promise: nil)
            }
        }
        parts.opened.whenResolved { [configuration, inbox, accepted] answer in
            timer.cancel()
            guard case .success(let peer) = answer else { return }
            let connection = AMQPConnection(parts, peer, configuration.connection)
            guard inbox.count < configuration.backlog else {
                let text = "too many connections wait to be accepted"
                let refusal = AMQPError(scope: .connection, condition: .resourceLimitExceeded, detail: text)
                parts.outbox.post(.connection(.close(refusal)))
                return
            }
            accepted.add(connection, until: parts.closed)
            inbox.push(contentsOf: [WaitingQueue.Entry(element: connection, weight: 1, isReported: false)])
        }
    }
}
