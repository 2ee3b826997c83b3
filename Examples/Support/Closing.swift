import QpidProton

/// Closing in order, for a limited time.
package enum Closing {
    /// Runs `body` where no cancellation of the caller reaches it; after the limit its waits are cancelled.
    package static func run(
        within limit: Duration,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let closing = Task { try await body() }
        let timer = Task {
            try await Task.sleep(for: limit)
            closing.cancel()
        }
        defer { timer.cancel() }
        try await closing.value
    }

    /// How long a peer may take to answer when the work was given up: by a signal or after a failure.
    package static let shortLimit: Duration = .seconds(3)
}

extension AMQPCloseResult {
    /// Throws the error that the close ended with.
    package func check() throws {
        if let error = self.error { throw error }
    }
}
