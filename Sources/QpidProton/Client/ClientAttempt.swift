internal import Logging

/// One attempt to connect: asks for credentials, and connects.
struct ClientAttempt: Sendable {
    /// A failure, and whether another attempt is of no use.
    struct Failure: Error {
        let error: AMQPError
        let isFatal: Bool
    }

    let configuration: AMQPClient.Configuration
    let logger: Logger
    /// Whether the client has been connected before.
    let isRecovery: Bool

    func connect(to url: AMQPURL) async throws(Failure) -> AMQPConnection {
        var settings = self.configuration.connection
        do {
            if let credentials = self.configuration.credentials { settings.sasl = try await credentials() }
            if let tls = self.configuration.tls { settings.tls = try await tls() }
        } catch {
            throw Self.failure(of: error)
        }
        do throws(AMQPError) {
            return try await AMQPConnection.connect(to: url, configuration: settings, logger: self.logger)
        } catch {
            throw Failure(error: error, isFatal: await self.isFatal(error, settings.sasl))
        }
    }

    /// The failure of a provider. One that says nothing else may succeed later.
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
        // New credentials are worth another attempt, the same are not.
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
