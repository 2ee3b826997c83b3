// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import Configuration
    import CoreMetrics
    import ExampleSupport
    import Foundation
    import Logging
    import QpidProton
    import ServiceLifecycle
    import UnixSignals

    /// A service that accepts orders, has workers price them, and survives outages of its broker.
    ///
    /// ```
    /// orders → Intake → jobs → Workers → done
    ///                           ↓    ↑
    ///                        prices  replies
    ///                           ↓    ↑
    ///                         PriceDesk
    /// ```
    @main
    enum Main {
        static func main() async {
            Help.answer(CommandLine.arguments.dropFirst())
            let logger = Logger(label: "service") { StreamLogHandler.standardError(label: $0) }
            do {
                try await self.run(logger)
            } catch let failure as Failure {
                Console.error("service: \(failure)")
                exit(failure.exitCode)
            } catch {
                logger.error("the service has failed", metadata: ["error": "\(ErrorWords.environment.text(of: error))"])
                exit(1)
            }
        }

        private static func run(_ logger: Logger) async throws {
            let board = MetricsBoard()
            MetricsSystem.bootstrap(board)
            let (settings, client): (Settings, AMQPClient)
            do {
                settings = try Settings(reader: ConfigReader(provider: EnvironmentVariablesProvider()))
                client = try makeClient(settings, logger)
            } catch let error as AMQPError {
                throw Failure("\(ErrorWords.environment.text(of: error)) (see --help)", exitCode: 64)
            }
            let prices = PriceRequests(client, settings)
            // The last service shuts down first, so orders end first, and a worker can request prices until its job is
            // finished.
            let services: [any Service] = [
                Probes(client: client, board: board, settings: settings, logger: logger),
                client,
                prices,
                PriceDesk(client: client, settings: settings),
                Workers(client: client, settings: settings, prices: prices, logger: logger),
                try await Intake(client, settings, logger),
            ]
            try await ServiceGroup(
                services: services,
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            ).run()
            // The client is already closed: this call returns the result.
            let result = await client.close()
            logger.info(
                "the service has stopped",
                metadata: ["not_sent": "\(result.notSent)", "in_doubt": "\(result.inDoubt)"]
            )
        }
    }
#else
    import ExampleSupport
    import Foundation

    @main
    enum Main {
        static func main() {
            Console.error("service: build it with the traits ServiceLifecycle and Configuration")
            exit(1)
        }
    }
#endif
