// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import Configuration
    import ExampleSupport

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

        /// Reads the settings. Throws for an unusable value.
        init(reader: ConfigReader) throws {
            self.reader = reader
            let own = reader.scoped(to: "service")
            self.host = own.string(forKey: "host", default: "127.0.0.1")
            self.intakePort = try Self.number("intakePort", in: 0...65_535, of: own) ?? 5673
            self.probesPort = try Self.number("probesPort", in: 0...65_535, of: own)
            self.prefix = own.string(forKey: "addressPrefix", default: "")
            self.concurrency = try Self.number("concurrency", in: 1...10_000, of: own) ?? 16
            self.work = .seconds(try Self.number("workSeconds", in: 0...86_400.0, of: own) ?? 0)
            self.shutdownLimit = .seconds(try Self.number("shutdownLimit", in: 0.1...86_400, of: own) ?? 25)
        }

        /// Returns a number; `nil` if the variable is missing or empty. Throws for other texts, because the reader would
        /// ignore them.
        private static func number<Number: LosslessStringConvertible & Comparable>(
            _ key: String,
            in range: ClosedRange<Number>,
            of reader: ConfigReader
        ) throws -> Number? {
            guard let text = reader.string(forKey: ConfigKey(key)), !text.isEmpty else { return nil }
            guard let number = Number(text), range.contains(number) else {
                let kind = Number.self == Int.self ? "a whole number" : "a number"
                let limits = "\(range.lowerBound) to \(range.upperBound)"
                let variable = ErrorWords.variable(of: "service.\(key)")
                throw Failure(
                    "\(variable) is \(text.debugDescription): it must be \(kind) from \(limits)",
                    exitCode: 64
                )
            }
            return number
        }

        func address(_ queue: Queues) -> String { self.prefix + queue.name }
    }
#endif
