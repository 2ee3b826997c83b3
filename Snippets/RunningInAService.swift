// SPDX-License-Identifier: Apache-2.0

// A program that a supervisor starts, asks and stops.

import Configuration
import CoreMetrics
import Logging
import QpidProton
import ServiceLifecycle

// snippet.service
func serve() async throws {
    let logger = Logger(label: "orders")
    let reader = ConfigReader(provider: EnvironmentVariablesProvider())
    let client = try AMQPClient(reader: reader, logger: logger)
    let consumer = AMQPConsumer(client, .init(source: "jobs")) { job in
        try await work(on: job.decodeMessage())
    }
    let group = ServiceGroup(
        services: [client, consumer],
        gracefulShutdownSignals: [.sigterm, .sigint],
        logger: logger
    )
    try await group.run()
    let result = await client.close()
    logger.info("stopped", metadata: ["jobs": "\(consumer.result)", "unfinished": "\(result)"])
}
// snippet.end

// snippet.open
struct Intake: Service {
    let client: AMQPClient
    let orders: AsyncStream<AMQPMessage>

    func run() async throws {
        do {
            let sender = try await cancelWhenGracefulShutdown { try await client.sender(to: "orders") }
            for await order in orders.cancelOnGracefulShutdown() {
                _ = try await cancelWhenGracefulShutdown { try await sender.enqueue(order) }
            }
        } catch let error as AMQPError where error.condition == .cancelled && Task.isShuttingDownGracefully {
            print("no link, or no room, before the shutdown")
        }
    }
}
// snippet.end

// snippet.listener
func serve(_ listener: AMQPListener, _ logger: Logger) async throws {
    let service = ClosureService { await listener.run { connection in await handle(connection) } }
    let group = ServiceGroup(services: [service], gracefulShutdownSignals: [.sigterm], logger: logger)
    try await group.run()
}
// snippet.end

// snippet.ready
func readiness(_ client: AMQPClient) -> (status: Int, text: String) {
    let health = client.health
    let text = "\(health.state), \(health.linksDown) of \(health.links) links down"
    return (health.isReady ? 200 : 503, text)
}
// snippet.end

// snippet.secrets
func makeClient(_ logger: Logger) async throws -> AMQPClient {
    let reader = try await ConfigReader(providers: [
        // One file for each key, such as /run/secrets/amqp-password.
        DirectoryFilesProvider(directoryPath: "/run/secrets", allowMissing: true),
        EnvironmentVariablesProvider(secretsSpecifier: .specific(["AMQP_URLS", "AMQP_PASSWORD"])),
    ])
    return try AMQPClient(reader: reader, logger: logger) { configuration in
        configuration.connection.metrics = AMQPMetrics()
    }
}
// snippet.end

func work(on message: AMQPMessage) async throws {}
func handle(_ connection: AMQPConnection) async {}
