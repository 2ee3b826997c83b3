// SPDX-License-Identifier: Apache-2.0

// Pieces of the article "Getting started".

import Logging
import QpidProton

func closeByHand() async throws {
    // snippet.byHand
    let connection = try await AMQPConnection.connect(to: "amqp://localhost")
    let session = try await connection.openSession()
    let sender = try await session.openSender(to: "greetings")
    try await sender.send(AMQPMessage(body: "hello"))
    await sender.close()
    await session.close()
    await connection.close()
    // snippet.end
}

func scopes() async throws {
    // snippet.scopes
    try await AMQPConnection.withConnection(to: "amqp://localhost") { connection in
        try await connection.withSession { session in
            try await session.withSender(.init(target: "greetings")) { sender in
                let outcome = try await sender.send(AMQPMessage(body: "hello"))
                print(outcome)
            }
        }
    }
    // snippet.end
}

func configure() async throws {
    // snippet.configure
    var configuration = AMQPConnection.Configuration()
    configuration.containerID = "order-service"
    configuration.idleTimeout = .seconds(30)
    configuration.openTimeout = .seconds(5)
    let connection = try await AMQPConnection.connect(to: "amqp://localhost", configuration: configuration)
    print(connection.peer.containerID, connection.peer.properties)
    // snippet.end
}

func log() async throws {
    // snippet.log
    var logger = Logger(label: "amqp")
    logger.logLevel = .trace
    var configuration = AMQPConnection.Configuration()
    configuration.tracesFrames = true
    let connection = try await AMQPConnection.connect(
        to: "amqp://localhost",
        configuration: configuration,
        logger: logger
    )
    // snippet.end
    await connection.close()
}
