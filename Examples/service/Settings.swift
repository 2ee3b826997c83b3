// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import Configuration
    import QpidProton

    /// The settings: `SERVICE_…` of the environment, and the client's own `AMQP_…`.
    struct Settings: Sendable {
        let reader: ConfigReader
        /// The host on which the service listens for orders and probes.
        let host: String
        /// The port for orders; 0 for a free one.
        let intakePort: Int
        /// The port for health and metrics; `nil` for none.
        let probesPort: Int?
        /// The prefix of addresses: `/queues/` for RabbitMQ 4.
        let prefix: String
        /// The most jobs at the same time.
        let concurrency: Int
        /// How long a job takes in addition to its price.
        let work: Duration
        /// How long the whole shutdown may take.
        let shutdownLimit: Duration

        init(reader: ConfigReader) throws {
            self.reader = reader
            let own = reader.scoped(to: "service")
            self.host = own.string(forKey: "host", default: "127.0.0.1")
            self.intakePort = own.int(forKey: "intakePort", default: 5673)
            self.probesPort = own.int(forKey: "probesPort")
            self.prefix = own.string(forKey: "addressPrefix", default: "")
            self.concurrency = own.int(forKey: "concurrency", default: 16)
            self.work = .seconds(own.double(forKey: "workSeconds", default: 0))
            self.shutdownLimit = .seconds(own.double(forKey: "shutdownLimit", default: 25))
        }

        func address(_ queue: Queues) -> String { self.prefix + queue.name }
    }
#endif
