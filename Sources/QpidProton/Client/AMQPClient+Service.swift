// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle
    public import ServiceLifecycle

    extension AMQPClient: Service {}
    extension AMQPConsumer: Service {}
#endif

extension AMQPClient {
    /// Connects, and suspends until the client has ended.
    ///
    /// In a service group, put the client before its consumers. At a graceful shutdown of the group, the call closes
    /// the client as ``close(within:)`` does, and returns. Connection attempts, and delays before them, end at once.
    /// ``Configuration/shutdownLimit`` runs from the shutdown of the first consumer. The client logs unfinished work,
    /// and ``close(within:)`` returns it afterwards.
    ///
    /// Cancellation closes the client at once.
    ///
    /// - Throws: `AMQPError` if an error ended the client. ``AMQPCondition/cancelled`` if the task was cancelled before
    ///   the client was closed.
    public func run() async throws(AMQPError) {
        try await withShutdownHandler { () async throws(AMQPError) in
            try await self.runUntilClosed()
        } onShutdown: {
            let limit = self.supervisor.shutdown.beginForClient()
            Task { await self.close(within: limit) }
        }
    }

    private func runUntilClosed() async throws(AMQPError) {
        do throws(AMQPError) {
            do throws(AMQPError) { try await self.connect() } catch  where error == .clientClosed {}
            _ = try await self.supervisor.ended.value()
        } catch {
            guard error.condition == .cancelled else { throw error }
            // During a close, a cancellation only shortens the remaining time.
            let isClosing = self.supervisor.isClosing
            await self.close(within: .zero)
            if !isClosing { throw error }
        }
        if case .closed(let error?) = self.state { throw error }
    }
}
