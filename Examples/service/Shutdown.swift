// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import QpidProton
    import ServiceLifecycle

    /// Opens a link. Returns `nil` if the shutdown begins first: the client shuts down later, and may have no
    /// connection until then.
    func untilShutdown<Link: Sendable>(_ open: @escaping @Sendable () async throws -> Link) async throws -> Link? {
        do {
            return try await cancelWhenGracefulShutdown(open)
        } catch let error as AMQPError where error.condition == .cancelled && Task.isShuttingDownGracefully {
            return nil
        }
    }
#endif
