// SPDX-License-Identifier: Apache-2.0

import QpidProton

/// Closes links and connections in order, within a limit.
package enum Closing {
    /// Runs `body` shielded from a cancellation of the caller; at the limit its waits are cancelled.
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

    /// The time for a peer's answer after a signal or a failure.
    package static let shortLimit: Duration = .seconds(3)
}

extension AMQPCloseResult {
    /// Throws the error of the close.
    package func check() throws {
        if let error = self.error { throw error }
    }
}
