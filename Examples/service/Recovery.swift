// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import Logging
    import QpidProton

    // This file is the service's whole code for lost connections.

    /// Returns a client of the brokers in `AMQP_URLS`, which declares its queues on each connection.
    func makeClient(_ settings: Settings, _ logger: Logger) throws -> AMQPClient {
        try AMQPClient(reader: settings.reader, logger: logger) { configuration in
            configuration.onConnect = { connection, _ in try await Queues.declare(on: connection) }
            configuration.connection.metrics = metrics
            configuration.shutdownLimit = settings.shutdownLimit / 2
        }
    }
#endif
