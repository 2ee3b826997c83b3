// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import ExampleSupport
    import Logging
    import QpidProton
    import ServiceLifecycle

    /// Accepts orders from connecting programs, each as soon as the broker has accepted its job.
    struct Intake: Service {
        private let client: AMQPClient
        private let settings: Settings
        private let listener: AMQPListener

        init(_ client: AMQPClient, _ settings: Settings, _ logger: Logger) async throws {
            var configuration = AMQPListener.Configuration()
            configuration.shutdownLimit = settings.shutdownLimit / 2
            self.client = client
            self.settings = settings
            do {
                self.listener = try await AMQPListener.bind(
                    host: settings.host,
                    port: settings.intakePort,
                    configuration: configuration,
                    logger: logger
                )
            } catch {
                throw Failure("\(error.detail) (SERVICE_HOST, SERVICE_INTAKE_PORT)")
            }
            logger.info("taking orders", metadata: ["port": "\(self.listener.port)"])
        }

        func run() async throws {
            let (client, address) = (self.client, self.settings.address(.jobs))
            guard let jobs = try await untilShutdown({ try await client.sender(to: address) }) else {
                return await self.listener.close()
            }
            await self.listener.run { connection in await Self.serve(connection, jobs) }
        }

        private static func serve(_ connection: AMQPConnection, _ jobs: AMQPClient.Sender) async {
            await withDiscardingTaskGroup { group in
                let requests = connection.incoming.makeAsyncIterator()
                while let request = try? await requests.next(isolation: nil) {
                    switch request {
                    case .session(let session): _ = try? await session.accept()
                    case .sender(let link): link.refuse(AMQPError(condition: .notAllowed, detail: "orders only"))
                    case .receiver(let link):
                        group.addTask {
                            guard let orders = try? await link.accept(.init(window: .messages(256))) else { return }
                            try? await Self.take(orders, jobs)
                        }
                    }
                }
            }
        }

        private static func take(_ orders: AMQPReceiver, _ jobs: AMQPClient.Sender) async throws {
            for try await order in orders {
                let tracker = try await jobs.enqueue(encoded: order.payload)
                tracker.whenSettled { result in
                    switch result {
                    case .success(.accepted): order.accept()
                    // The broker may already have the job.
                    case .failure(let error) where error.fate == .inDoubt: order.modify(.init(deliveryFailed: true))
                    default: order.release()
                    }
                }
            }
        }
    }
#endif
