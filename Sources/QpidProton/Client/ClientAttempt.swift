// SPDX-License-Identifier: Apache-2.0

internal import Logging

/// Makes one connection attempt: requests the credentials, and connects.
struct ClientAttempt: Sendable {
    /// A failure, and whether it makes another attempt useless.
    struct Failure: Error {
        let error: AMQPError
        let isFatal: Bool
    }

    let configuration: AMQPClient.Configuration
    let logger: Logger
    let clock: ClientClock
    /// Whether the client has been connected before.
    let isRecovery: Bool

    func connect(to host: ClientHosts.Host) async throws(Failure) -> AMQPConnection {
        var settings = self.configuration.connection
        if let name = host.virtualHost { settings.virtualHost = name }
        do {
            if let credentials = self.configuration.credentials { settings.sasl = try await credentials() }
            if let tls = self.configuration.tls { settings.tls = try await tls() }
        } catch {
            throw Self.failure(of: error)
        }
        do throws(AMQPError) {
            return try await AMQPConnection.connect(to: host.url, configuration: settings, logger: self.logger)
        } catch {
            throw Failure(error: error, isFatal: await self.isFatal(error, settings.sasl))
        }
    }

    /// Prepares a connection with the application's hook, within its limit. Closes the connection if the hook fails.
    func prepare(_ connection: AMQPConnection, _ generation: Int) async throws(Failure) {
        guard let failure = await self.runHook(connection, generation) else { return }
        Task { await connection.close(within: .seconds(1)) }
        throw failure
    }

    private func runHook(_ connection: AMQPConnection, _ generation: Int) async -> Failure? {
        guard let hook = self.configuration.onConnect else { return nil }
        let limit = self.configuration.onConnectLimit
        let done = Reply<Failure?>()
        let work = Task {
            do {
                try await hook(connection, generation)
                done.resolve(.success(nil))
            } catch {
                done.resolve(.success(Self.failure(ofHook: error)))
            }
        }
        let watch = Task {
            try? await connection.waitUntilClosed()
            if !Task.isCancelled { done.resolve(.success(nil)) }
        }
        let timer = Task {
            do { try await self.clock.sleep(for: limit) } catch { return }
            let error = AMQPError.client(.timeout, "onConnect did not finish within \(limit)", scope: .connection)
            done.resolve(.success(Failure(error: error, isFatal: false)))
        }
        // A hook that ignores its cancellation continues without the client.
        defer { for task in [work, watch, timer] { task.cancel() } }
        do throws(AMQPError) {
            let failure = try await done.value()
            // A hook fails because its connection ended: report the cause.
            return connection.error.map { Failure(error: $0, isFatal: !$0.isRetryable) } ?? failure
        } catch {
            return Failure(error: error, isFatal: false)
        }
    }

    /// Returns the failure of a hook. An error of another type may be transient.
    private static func failure(ofHook error: any Error) -> Failure {
        if let error = error as? AMQPError {
            return Failure(error: error, isFatal: !error.isRetryable && error.condition != .cancelled)
        }
        var failure = AMQPError.client(.internalError, "onConnect failed: \(error)", scope: .connection)
        failure.underlying = error
        return Failure(error: failure, isFatal: false)
    }

    /// Returns the failure of a provider. An error of another type may be transient.
    private static func failure(of error: any Error) -> Failure {
        if let error = error as? AMQPError { return Failure(error: error, isFatal: !error.isRetryable) }
        var failure = AMQPError(
            scope: .connection,
            condition: .unauthorizedAccess,
            detail: "the credentials could not be renewed: \(error)"
        )
        failure.underlying = error
        return Failure(error: failure, isFatal: false)
    }

    private func isFatal(_ error: AMQPError, _ used: AMQPSASL) async -> Bool {
        if error.isRetryable { return false }
        // New credentials justify another attempt; the same credentials do not.
        if error.condition == .unauthorizedAccess, let credentials = self.configuration.credentials,
            let renewed = try? await credentials()
        {
            return renewed == used
        }
        // The peer may still hold the lost connection of this container.
        if self.isRecovery, error.condition == .invalidField,
            error.info[symbol: "invalid-field"]?.stringValue == "container-id"
                || error.info[symbol: "invalid-field"]?.symbolValue == "container-id"
        {
            return false
        }
        return true
    }
}
