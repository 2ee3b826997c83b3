// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The periodic check that the peer's host acknowledges sent bytes. Used on the event loop only.
///
/// Only Linux reports acknowledgements, and only for TCP.
final class AcknowledgementTimer {
    #if os(Linux)
        private var watch: AcknowledgementWatch
        private unowned let handler: ConnectionHandler
        private let socket: any SocketOptionProvider
        private var timer: LoopTimer?

        /// Starts the checks; `nil` without an idle timeout or without a socket.
        init?(of handler: ConnectionHandler) {
            guard let limit = handler.configuration.idleTimeout,
                let socket = handler.context?.channel as? any SocketOptionProvider
            else { return nil }
            self.watch = AcknowledgementWatch(limit: limit)
            self.handler = handler
            self.socket = socket
            self.schedule()
        }

        func cancel() {
            self.timer?.cancel()
            self.timer = nil
        }

        private func schedule() {
            self.timer = LoopTimer(of: self.handler, in: self.watch.interval) { [unowned self] in self.look() }
        }

        private func look() {
            let info = self.socket.getTCPInfo().assumeIsolated()
            info.whenSuccess { [weak self] info in
                guard let self, !self.handler.isDead else { return }
                let isLost = self.watch.look(
                    unacknowledged: info.tcpi_unacked,
                    retransmits: info.tcpi_retransmits,
                    at: .nanoseconds(self.handler.now)
                )
                guard isLost else { return self.schedule() }
                let text = "the peer has acknowledged nothing for \(self.watch.limit)"
                self.handler.die(AMQPError(scope: .connection, condition: .idleTimeout, detail: text))
            }
        }
    #else
        init?(of handler: ConnectionHandler) { return nil }
        func cancel() {}
    #endif
}
