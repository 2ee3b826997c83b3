// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

extension RabbitMQTests {
    /// Failures at the broker. Each error names the cause.
    @Suite(.timeLimit(.minutes(5)))
    struct Failures {
        @Test func aMissingQueue() async throws {
            try await RabbitMQScene.with { scene in
                let address = RabbitMQAddress.queue("there is no such queue")
                // Each link has a session of its own, because the broker ends the session.
                let sending = try await scene.connection.openSession()
                let receiving = try await scene.connection.openSession()
                let errors = [
                    try await failure(of: "the sender") { try await sending.openSender(to: address) },
                    try await failure(of: "the receiver") { try await receiving.openReceiver(from: address) },
                ]
                for error in errors {
                    #expect(
                        error.scope == .session && !error.isRetryable && error.condition == .notFound
                            && error.origin == .peer
                    )
                    #expect(error.detail.contains("there is no such queue"), "\(error)")
                }
                #expect(sending.error?.condition == .notFound && scene.connection.error == nil)
                #expect(scene.session.error == nil)
            }
        }

        @Test func aMissingExchange() async throws {
            try await RabbitMQScene.with { scene in
                let session = try await scene.connection.openSession()
                let error = try await failure(of: "the sender") {
                    try await session.openSender(to: RabbitMQAddress.exchange("there is no such exchange"))
                }
                #expect(error.condition == .notFound && error.detail.contains("there is no such exchange"))
            }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func aQueueIsDeletedWhileItIsRead(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare(kind)
                let receiver = try await scene.openReceiver(from: queue)
                let waiting = Task { try await failure(of: "waiting") { try await receiver.next() } }
                try await scene.management.deleteQueue(queue)
                let error = try await waiting.value
                #expect(
                    error.scope == .link && !error.isRetryable && error.condition == .resourceDeleted
                        && error.origin == .peer,
                    "\(error)"
                )
                #expect(scene.session.error == nil)
            }
        }

        @Test func aQueueIsDeletedWhileASenderIsAttached() async throws {
            try await RabbitMQScene.with { scene in
                let queue = try await scene.declare()
                let sender = try await scene.openSender(to: queue)
                #expect(try await sender.send(AMQPMessage(body: "kept")) == .accepted)
                let waiting = Task { try await failure(of: "waiting") { try await sender.waitUntilClosed() } }
                try await scene.management.deleteQueue(queue)
                let error = try await waiting.value
                #expect(
                    error.scope == .link && error.condition == .resourceDeleted && error.origin == .peer,
                    "\(error)"
                )
                let sending = try await failure(of: "sending") { try await sender.send(AMQPMessage(body: "lost")) }
                #expect(sending.condition == .resourceDeleted && sending.fate == .notSent, "\(sending)")
                #expect(scene.session.error == nil)
            }
        }

        @Test func theConnectionIsClosed() async throws {
            let broker = try RabbitMQBroker.required()
            let connection = try await AMQPConnection.connect(to: broker.url)
            let management = try await RabbitMQManagement.open(on: connection)
            var queue = RabbitMQQueue("test-closed")
            queue.isExclusive = true
            try await management.declare(queue)
            let receiver = try await connection.openSession().openReceiver(from: RabbitMQAddress.queue("test-closed"))
            let waiting = Task { try await failure(of: "waiting") { try await receiver.next() } }
            try await broker.control("close_all_connections", "closed for lunch")
            let errors = [
                try await waiting.value,
                try await failure(of: "the management") { try await management.queue("test-closed") },
                try #require(connection.error),
            ]
            for error in errors {
                #expect(
                    error.scope == .connection && error.isRetryable && error.condition == .internalError
                        && error.origin == .peer,
                    "\(error)"
                )
                #expect(error.detail.contains("closed for lunch"), "\(error)")
            }
        }

        @Test(arguments: [("guest", "wrong"), ("nobody", "guest"), ("guest", "")])
        func aLoginIsRefused(_ user: String, _ password: String) async throws {
            let broker = try RabbitMQBroker.required()
            let error = try await connectFailure("amqp://127.0.0.1:\(broker.port)") {
                $0.sasl = .plain(username: user, password: password)
            }
            #expect(error.condition == .unauthorizedAccess && error.origin == .peer, "\(error)")
            #expect(error.detail.contains("refused the login with SASL PLAIN"), "\(error)")
        }

        /// The broker logs the reason, but does not send it to the client.
        @Test func aVirtualHostThatIsNotThere() async throws {
            let broker = try RabbitMQBroker.required()
            let error = try await connectFailure(broker.url) { $0.virtualHost = "vhost:there is none" }
            #expect(error.condition == .connectionLost, "\(error)")
        }

        @Test func aPlainConnectionToTheTLSPort() async throws {
            let broker = try RabbitMQBroker.required()
            let error = try await connectFailure("amqp://guest:guest@127.0.0.1:\(broker.port - 1)") {
                $0.openTimeout = .seconds(5)
            }
            #expect([.connectionFramingError, .connectionLost, .timeout].contains(error.condition), "\(error)")
        }

        // MARK: Successful logins

        @Test func anonymous() async throws {
            let broker = try RabbitMQBroker.required()
            try await within("a session") {
                var configuration = AMQPConnection.Configuration()
                configuration.sasl = .anonymous
                try await AMQPConnection.withConnection(
                    to: "amqp://127.0.0.1:\(broker.port)",
                    configuration: configuration
                ) { connection in
                    try await RabbitMQManagement.withManagement(on: connection) { management in
                        let count = try await management.deleteQueue("there is no such queue")
                        #expect(count == 0)
                    }
                }
            }
        }

        @Test func externalWithTLS() async throws {
            let broker = try RabbitMQBroker.required()
            var configuration = AMQPConnection.Configuration()
            configuration.containerID = "test-external"
            configuration.tls.trustRoots = .file(RabbitMQBroker.certificate("ca.pem"))
            configuration.tls.identity = .files(
                certificateChain: RabbitMQBroker.certificate("client.pem"),
                privateKey: RabbitMQBroker.certificate("client.key")
            )
            configuration.sasl = .external
            let settings = configuration
            try await within("a session") {
                try await AMQPConnection.withConnection(to: broker.tlsURL, configuration: settings) { connection in
                    try await RabbitMQManagement.withManagement(on: connection) { management in
                        var queue = RabbitMQQueue("test-external")
                        queue.isExclusive = true
                        try await management.declare(queue)
                        let session = try await connection.openSession()
                        let sender = try await session.openSender(to: RabbitMQAddress.queue("test-external"))
                        #expect(try await sender.send(AMQPMessage(body: "encrypted")) == .accepted)
                        let receiver = try await session.openReceiver(from: RabbitMQAddress.queue("test-external"))
                        #expect(try await receiver.takeBodies(1) == ["encrypted"])
                        let users = try await broker.control("list_connections", "user", "ssl", "auth_mechanism")
                        #expect(users.contains("test-client\ttrue\tEXTERNAL"), "\(users)")
                    }
                }
            }
        }

        @Test func externalWithoutACertificate() async throws {
            let broker = try RabbitMQBroker.required()
            let error = try await connectFailure(broker.tlsURL) {
                $0.tls.trustRoots = .file(RabbitMQBroker.certificate("ca.pem"))
                $0.sasl = .external
            }
            #expect(error.detail.contains("SASL EXTERNAL needs TLS and a client certificate"), "\(error)")
        }

        @Test func anUnknownAuthority() async throws {
            let broker = try RabbitMQBroker.required()
            let error = try await connectFailure(broker.tlsURL) {
                $0.tls.trustRoots = .file(RabbitMQBroker.certificate("other-ca.pem"))
            }
            #expect(error.condition == .tlsFailed && error.detail.lowercased().contains("certificate"), "\(error)")
        }
    }
}
