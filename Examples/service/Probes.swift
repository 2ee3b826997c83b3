// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import ExampleSupport
    import Logging
    import NIOCore
    import NIOHTTP1
    import NIOPosix
    import QpidProton
    import ServiceLifecycle

    /// Answers `/live`, `/ready` and `/metrics` over HTTP.
    struct Probes: Service {
        let client: AMQPClient
        let board: MetricsBoard
        let settings: Settings
        let logger: Logger

        func run() async throws {
            guard let port = self.settings.probesPort else { return try await Self.untilShutdown() }
            let server = ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                        try channel.pipeline.syncOperations.addHandler(ProbeHandler(answer: self.answer))
                    }
                }
            let channel: any Channel
            do {
                channel = try await server.bind(host: self.settings.host, port: port).get()
            } catch let error as IOError {
                let place = "\(self.settings.host):\(port) (SERVICE_HOST, SERVICE_PROBES_PORT)"
                throw SystemFailure("answer probes on \(place)", error.errnoCode)
            }
            self.logger.info("answering probes", metadata: ["port": "\(channel.localAddress?.port ?? port)"])
            try await Self.untilShutdown()
            try await channel.close()
        }

        private static func untilShutdown() async throws {
            do { try await gracefulShutdown() } catch is CancellationError {}
        }

        /// Returns the status and the text for a path.
        private func answer(_ path: String) -> (HTTPResponseStatus, String) {
            let health = self.client.health
            switch path {
            // The process is alive. An outage of the broker is no reason to restart it.
            case "/live": return (.ok, "live\n")
            case "/ready":
                let text = "\(health.state), \(health.linksDown) of \(health.links) links down\n"
                return (health.isReady ? .ok : .serviceUnavailable, text)
            case "/metrics": return (.ok, self.board.text)
            default: return (.notFound, "use /live, /ready or /metrics\n")
            }
        }
    }

    /// Answers each request, and closes the connection.
    private final class ProbeHandler: ChannelInboundHandler, Sendable {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let answer: @Sendable (String) -> (HTTPResponseStatus, String)

        init(answer: @escaping @Sendable (String) -> (HTTPResponseStatus, String)) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .head(let request) = self.unwrapInboundIn(data) else { return }
            let (status, text) = self.answer(request.uri)
            let body = ByteBuffer(string: text)
            let headers: HTTPHeaders = [
                "content-type": "text/plain; charset=utf-8", "content-length": "\(body.readableBytes)",
                "connection": "close",
            ]
            let head = HTTPResponseHead(version: request.version, status: status, headers: headers)
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
            let channel = context.channel
            context.writeAndFlush(self.wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
#endif
