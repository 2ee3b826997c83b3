// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import Logging
    import QpidProton

    // All that the service does about lost connections.

    /// A client of the brokers in `AMQP_URLS`, whose queues are there whenever it is connected.
    func makeClient(_ settings: Settings, _ logger: Logger) throws -> AMQPClient {
        try AMQPClient(reader: settings.reader, logger: logger) { configuration in
            configuration.onConnect = { connection, _ in try await Queues.declare(on: connection) }
            configuration.connection.metrics = metrics
            configuration.shutdownLimit = settings.shutdownLimit / 2
        }
    }
#endif
