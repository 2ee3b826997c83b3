// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

extension RabbitMQTests {
    /// Successive sessions and links on one connection. RabbitMQ 4.0 loses a `begin` on a channel whose number was
    /// freed a moment before.
    @Suite(.timeLimit(.minutes(10)))
    struct Sessions {
        private static let count =
            ProcessInfo.processInfo.environment["QPID_PROTON_RABBITMQ_SESSIONS"].flatMap(Int.init) ?? 1_000

        private static func connect() async throws -> AMQPConnection {
            var configuration = AMQPConnection.Configuration()
            // The short timeout lets a lost `begin` fail the test soon.
            configuration.operationTimeout = .seconds(5)
            return try await AMQPConnection.connect(
                to: try RabbitMQBroker.required().url,
                configuration: configuration
            )
        }

        @Test func sessionsThatAreEndedHere() async throws {
            let connection = try await Self.connect()
            for _ in 0..<Self.count { try await connection.openSession().close().check() }
            try await connection.close().check()
        }

        @Test func sessionsThatTheBrokerEnds() async throws {
            let connection = try await Self.connect()
            for _ in 0..<Self.count / 5 {
                let session = try await connection.openSession()
                // The broker ends the session of a link to a queue that does not exist.
                await #expect(throws: AMQPError.self) {
                    try await session.openSender(to: RabbitMQAddress.queue("no-queue-of-this-name"))
                }
                #expect(session.error?.condition == .notFound)
            }
            try await connection.close().check()
        }

        @Test func sessionsEndedManyAtATime() async throws {
            let connection = try await Self.connect()
            // The broker has 64 channels.
            for _ in 0..<Self.count / 100 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<50 { group.addTask { try await connection.openSession().close().check() } }
                    try await group.waitForAll()
                }
            }
            try await connection.close().check()
        }

        @Test func aSessionAfterTheManagement() async throws {
            let connection = try await Self.connect()
            for _ in 0..<Self.count / 5 {
                try await RabbitMQManagement.withManagement(on: connection) { _ in }
                try await connection.openSession().close().check()
            }
            try await connection.close().check()
        }

        /// Handles and names of links need no rest.
        @Test(arguments: ["a name", nil])
        func successiveLinks(name: String?) async throws {
            try await RabbitMQScene.with { scene in
                let address = RabbitMQAddress.queue(try await scene.declare())
                var sending = AMQPSender.Configuration(target: AMQPTarget(address: address))
                var receiving = AMQPReceiver.Configuration(source: AMQPSource(address: address))
                (sending.name, receiving.name) = (name, name)
                for _ in 0..<Self.count / 2 {
                    try await scene.session.openSender(sending).close().check()
                    try await scene.session.openReceiver(receiving).close().check()
                }
            }
        }
    }
}
