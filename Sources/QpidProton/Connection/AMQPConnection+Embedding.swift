// SPDX-License-Identifier: Apache-2.0

internal import Logging
public import NIOCore

extension AMQPConnection {
    /// Opens a connection over a channel that is not active yet, without TLS and SASL.
    ///
    /// Programs that measure the library without a socket use it, such as the program of `dev/gates`. Call this
    /// function on the channel's event loop; it connects the channel. Suspends until the peer has opened the connection
    /// too. No timeout applies, and cancellation ends only the wait.
    ///
    /// - Parameters:
    ///   - channel: The channel, whose pipeline contains the substitute for the socket.
    ///   - configuration: The settings of the connection.
    /// - Throws: `AMQPError` if a setting is unusable, or the channel closes first.
    @_spi(Embedding)
    public static func open(
        on channel: any Channel,
        configuration: Configuration = .init()
    ) async throws(AMQPError) -> AMQPConnection {
        let logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
        let parts: Parts
        do {
            let handler = try ConnectionHandler(
                role: .client,
                configuration: configuration,
                eventLoop: channel.eventLoop,
                logger: logger,
                // The channel of such a program accepts all bytes at once.
                confirmsByWritability: true
            )
            try channel.pipeline.syncOperations.addHandler(handler)
            channel.connect(to: try SocketAddress(unixDomainSocketPath: "/in-memory"), promise: nil)
            parts = Parts(handler, channel)
        } catch {
            throw error as? AMQPError
                ?? AMQPError(
                    scope: .connection,
                    condition: .connectFailed,
                    detail: NetworkError.cause(error),
                    underlying: error
                )
        }
        return AMQPConnection(parts, try await parts.opened.value(), configuration)
    }
}
