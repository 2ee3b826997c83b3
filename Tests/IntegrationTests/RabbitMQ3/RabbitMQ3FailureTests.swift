// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import TestSupport
import Testing

extension RabbitMQ3Tests {
    /// Requests that the broker refuses or does not support. The error names the cause if the broker reports one.
    @Suite(.timeLimit(.minutes(5)))
    struct Failures {
        /// Each address ends its own session, and no other.
        @Test(arguments: [
            ("/exchange/there is none/key", AMQPCondition.notFound, "no exchange 'there is none'"),
            ("/nowhere/x", .invalidField, "unknown_destination,\"/nowhere/x\""),
            ("/queues/of RabbitMQ 4", .invalidField, "unknown_destination,\"/queues/of RabbitMQ 4\""),
            ("/queue/a/b", .invalidField, "invalid_destination"),
        ])
        func anUnknownAddressIsRefused(_ address: String, _ condition: AMQPCondition, _ text: String) async throws {
            try await RabbitMQ3Scene.with { scene in
                let errors = [
                    try await failure(of: "the sender") { try await scene.openSender(to: address) },
                    try await failure(of: "the receiver") { try await scene.openReceiver(from: address) },
                ]
                for error in errors {
                    #expect(
                        error.scope == .session && error.condition == condition && error.origin == .peer,
                        "\(error)"
                    )
                    #expect(error.detail.contains(text), "\(error)")
                }
                #expect(scene.connection.error == nil)
            }
        }

        @Test func aMissingQueueIsRefused() async throws {
            try await RabbitMQ3Scene.with { scene in
                let error = try await failure(of: "the receiver") {
                    try await scene.openReceiver(from: "/amq/queue/there is none")
                }
                #expect(error.scope == .session && error.condition == .notFound && error.origin == .peer, "\(error)")
                #expect(error.detail.contains("no queue 'there is none'"), "\(error)")
                #expect(scene.connection.error == nil)
            }
        }

        @Test func noAnonymousTargetAndNoDynamicNodes() async throws {
            try await RabbitMQ3Scene.with { scene in
                let anonymous = try await failure(of: "the sender") {
                    try await scene.openSender { $0.target = .anonymous }
                }
                #expect(anonymous.scope == .session && anonymous.condition == .invalidField, "\(anonymous)")
                #expect(anonymous.detail.contains("address_not_utf8_string"), "\(anonymous)")
                let dynamic = try await failure(of: "the receiver") {
                    try await scene.openReceiver { $0.source = .dynamic }
                }
                #expect(dynamic.scope == .session && dynamic.condition == .notImplemented, "\(dynamic)")
                #expect(dynamic.detail.contains("Dynamic sources not supported"), "\(dynamic)")
            }
        }

        /// The plugin does not expect the notification. The session fails, and three seconds later the socket closes.
        @Test func aQueueIsDeletedWhileItIsRead() async throws {
            try await RabbitMQ3Scene.with { scene in
                let receiver = try await scene.openReceiver()
                let waiting = Task { try await failure(of: "waiting") { try await receiver.next() } }
                try await scene.broker.control("delete_queue", scene.queue)
                let error = try await waiting.value
                #expect(error.condition == .connectionLost, "\(error)")
            }
        }

        @Test func aQueueIsDeletedWhileASenderIsAttached() async throws {
            try await RabbitMQ3Scene.with { scene in
                let sender = try await scene.openSender()
                try await scene.broker.control("delete_queue", scene.queue)
                // The exchange accepts messages that have no queue.
                #expect(try await sender.send(AMQPMessage(body: "lost")) == .accepted)
                #expect(try await scene.info("messages") == nil)
            }
        }

        /// The calls that drain a link. This broker fails when it answers a drain for an empty classic queue.
        enum Draining: CaseIterable {
            case receive, drain, pause, close

            func run(_ receiver: AMQPReceiver) async throws {
                switch self {
                case .receive: _ = try await receiver.receive(timeout: .zero)
                case .drain: _ = try await receiver.drain(timeout: .seconds(30))
                case .pause: try await receiver.pause()
                case .close: await receiver.close(within: .seconds(30))
                }
            }
        }

        @Test(arguments: Draining.allCases)
        func aDrainOfAnEmptyClassicQueueEndsTheSession(_ draining: Draining) async throws {
            try await RabbitMQ3Scene.with { scene in
                let receiver = try await scene.openReceiver()
                try? await within("the drain") { try await draining.run(receiver) }
                let error = try #require(receiver.session.error)
                #expect(
                    error.scope == .session && error.condition == .internalError && error.origin == .peer,
                    "\(error)"
                )
                #expect(error.detail.contains("send_drained"), "\(error)")
                #expect(scene.connection.error == nil)
            }
        }

        /// The drained link receives nothing any more, so another link must receive the message.
        @Test func aDrainOfAnEmptyQuorumQueueIsAnswered() async throws {
            try await RabbitMQ3Scene.with { scene in
                let queue = try await scene.declare(#"{<<"x-queue-type">>,longstr,<<"quorum">>}"#)
                let address = "/amq/queue/\(queue)"
                let receiver = try await scene.openReceiver(from: address)
                #expect(try await receiver.receive(timeout: .zero) == nil)
                try await receiver.close().check()
                try await scene.fill(0..<1, to: address)
                #expect(try await scene.openReceiver(from: address).takeBodies(1) == ["0"])
                try await scene.expectEmpty(queue)
            }
        }

        /// The queue contains nothing of the message.
        @Test func anAbortEndsTheSession() async throws {
            struct GivenUp: Error {}
            try await RabbitMQ3Scene.with { scene in
                let sender = try await scene.openSender()
                let waiting = Task { try await failure(of: "waiting") { try await sender.waitUntilClosed() } }
                await #expect(throws: GivenUp.self) {
                    try await sender.stream(body: WrittenBody(of: sender, error: GivenUp()))
                }
                let error = try await waiting.value
                #expect(
                    error.scope == .session && error.condition == .internalError && error.origin == .peer,
                    "\(error)"
                )
                #expect(error.detail.contains("Unexpected frame"), "\(error)")
                #expect(error.detail.contains("{aborted,true}"), "\(error)")
                #expect(try await scene.info("messages") == ["0"])
                try await scene.fill(0..<1)
            }
        }

        @Test func theBrokerClosesTheConnection() async throws {
            try await RabbitMQ3Scene.with { scene in
                let receiver = try await scene.openReceiver()
                let waiting = Task { try await failure(of: "waiting") { try await receiver.next() } }
                try await scene.broker.control("close_all_connections", "closed for lunch")
                let error = try await waiting.value
                #expect(
                    error.scope == .session && error.condition == .internalError && error.origin == .peer,
                    "\(error)"
                )
                // The error lists the characters of the reason as numbers.
                #expect(error.detail.contains("server_initiated_close,320"), "\(error)")
            }
        }

        // MARK: Login

        @Test(arguments: [("guest", "wrong"), ("nobody", "guest"), ("guest", "")])
        func aLoginIsRefused(_ user: String, _ password: String) async throws {
            let broker = try RabbitMQ3Scene.requiredBroker()
            let error = try await connectFailure("amqp://127.0.0.1:\(broker.port)") {
                $0.sasl = .plain(username: user, password: password)
            }
            #expect(error.condition == .unauthorizedAccess && error.origin == .peer, "\(error)")
            #expect(error.detail.contains("refused the login with SASL PLAIN"), "\(error)")
        }

        @Test func loginWithACertificateAndAnonymously() async throws {
            let broker = try RabbitMQ3Scene.requiredBroker()
            var external = AMQPConnection.Configuration()
            external.tls.trustRoots = .file(RabbitMQBroker.certificate("ca.pem"))
            external.tls.identity = .files(
                certificateChain: RabbitMQBroker.certificate("client.pem"),
                privateKey: RabbitMQBroker.certificate("client.key")
            )
            external.sasl = .external
            var anonymous = AMQPConnection.Configuration()
            anonymous.sasl = .anonymous
            for (url, configuration) in [(broker.tlsURL, external), ("amqp://127.0.0.1:\(broker.port)", anonymous)] {
                try await within("a session") {
                    try await AMQPConnection.withConnection(to: url, configuration: configuration) { connection in
                        let sender = try await connection.openSession().openSender(to: "/exchange/amq.fanout")
                        #expect(try await sender.send(AMQPMessage(body: "x")) == .accepted)
                    }
                }
            }
        }
    }
}

/// A body that fails once all its available bytes are written to the socket.
private struct WrittenBody: AsyncSequence, AsyncIteratorProtocol {
    let sender: AMQPSender
    let error: any Error
    private var isWritten = false

    init(of sender: AMQPSender, error: any Error) {
        self.sender = sender
        self.error = error
    }

    func makeAsyncIterator() -> WrittenBody { self }

    mutating func next() async throws -> ByteBuffer? {
        if !self.isWritten {
            self.isWritten = true
            return ByteBuffer(repeating: 7, count: 100_000)
        }
        try await waitUntil("it is written") { self.sender.outgoingBytes == 0 }
        throw self.error
    }
}
