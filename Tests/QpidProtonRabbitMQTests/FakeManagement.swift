// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import Testing

/// A management node like RabbitMQ's: a listener of this library that answers requests as a test specifies.
final class FakeManagement: Sendable {
    /// A received request.
    struct Request: Hashable {
        var method: String?
        var path: String?
        var body: AMQPMessage.Body
        var id: AMQPMessageID?
        var replyTo: String?
    }

    /// The node's reaction to a request.
    enum Reaction {
        case answer(status: String, body: AMQPValue, after: Duration = .zero)
        /// A message of any kind. The node sets its correlation id.
        case message(AMQPMessage)
        case ignore
        /// The answer follows after the answer to the next request.
        case answerAfterTheNext(status: String, body: AMQPValue)
        case endSession(AMQPError)
    }

    private let react: @Sendable (Request) -> Reaction
    private let requests = Mutex<[Request]>([])
    private let attaches = Mutex<[AMQPAttach]>([])
    private let sender = Mutex<AMQPSender?>(nil)
    private let connections = Mutex<[AMQPConnection]>([])
    private let late = Mutex<[AMQPMessage]>([])

    private init(_ react: @escaping @Sendable (Request) -> Reaction) {
        self.react = react
    }

    /// The received requests.
    var received: [Request] { self.requests.withLock { $0 } }
    /// The attaches of the links.
    var attached: [AMQPAttach] { self.attaches.withLock { $0 } }

    /// Runs `body` with a connection to a node with this reaction.
    static func with(
        capabilities: [AMQPSymbol] = ["LINK_PAIR_V1_0", "ANONYMOUS-RELAY"],
        _ react: @escaping @Sendable (Request) -> Reaction,
        _ body: (FakeManagement, AMQPConnection) async throws -> Void
    ) async throws {
        try await self.withURL(capabilities: capabilities, react) { fake, url in
            try await AMQPConnection.withConnection(to: url) { try await body(fake, $0) }
        }
    }

    /// Runs `body` with the URL of a node with this reaction.
    static func withURL(
        capabilities: [AMQPSymbol] = ["LINK_PAIR_V1_0", "ANONYMOUS-RELAY"],
        _ react: @escaping @Sendable (Request) -> Reaction,
        _ body: (FakeManagement, String) async throws -> Void
    ) async throws {
        var configuration = AMQPListener.Configuration()
        configuration.connection.offeredCapabilities = capabilities
        let listener = try await AMQPListener.bind(port: 0, configuration: configuration)
        let fake = FakeManagement(react)
        let service = Task { await fake.serve(listener) }
        do {
            try await body(fake, "amqp://127.0.0.1:\(listener.port)")
        } catch {
            service.cancel()
            await listener.close()
            throw error
        }
        service.cancel()
        await listener.close()
    }

    private func serve(_ listener: AMQPListener) async {
        await withDiscardingTaskGroup { group in
            let connections = listener.makeAsyncIterator()
            while let connection = try? await connections.next(isolation: nil) {
                group.addTask { await self.serve(connection) }
            }
            group.cancelAll()
        }
    }

    /// Closes all connections, as an operator does.
    func closeConnections() async {
        let connections = self.connections.withLock { connections in
            defer { connections = [] }
            return connections
        }
        for connection in connections { _ = await connection.close(AMQPError(condition: .connectionForced)) }
    }

    private func serve(_ connection: AMQPConnection) async {
        self.connections.withLock { $0.append(connection) }
        await withDiscardingTaskGroup { group in
            let wishes = connection.incoming.makeAsyncIterator()
            while let wish = try? await wishes.next(isolation: nil) {
                switch wish {
                case .session(let session): _ = try? await session.accept()
                case .sender(let link):
                    self.attaches.withLock { $0.append(link.attach) }
                    let sender = try? await link.accept()
                    self.sender.withLock { $0 = sender }
                case .receiver(let link):
                    self.attaches.withLock { $0.append(link.attach) }
                    guard let receiver = try? await link.accept() else { continue }
                    group.addTask { await self.answer(receiver) }
                }
            }
            group.cancelAll()
        }
    }

    private func answer(_ receiver: AMQPReceiver) async {
        while let delivery = try? await receiver.next(), let message = try? delivery.decodeMessage() {
            delivery.accept()
            let properties = message.properties
            let request = Request(
                method: properties.subject,
                path: properties.to,
                body: message.body,
                id: properties.messageID,
                replyTo: properties.replyTo
            )
            self.requests.withLock { $0.append(request) }
            var answer: AMQPMessage?
            switch self.react(request) {
            case .answer(let status, let body, let delay):
                if delay > .zero { try? await Task.sleep(for: delay) }
                answer = Self.answer(status, body, to: request)
            case .answerAfterTheNext(let status, let body):
                self.late.withLock { $0.append(Self.answer(status, body, to: request)) }
            case .message(var message):
                message.properties.correlationID = request.id
                answer = message
            case .ignore: break
            case .endSession(let error): _ = await receiver.session.close(error)
            }
            guard let answer, let sender = self.sender.withLock({ $0 }) else { continue }
            _ = try? await sender.enqueue(answer)
            let late = self.late.withLock { late in
                defer { late = [] }
                return late
            }
            for message in late { _ = try? await sender.enqueue(message) }
        }
    }

    private static func answer(_ status: String, _ body: AMQPValue, to request: Request) -> AMQPMessage {
        var message = AMQPMessage(body: body)
        message.properties.subject = status
        message.properties.correlationID = request.id
        return message
    }

    /// Returns RabbitMQ's description of a queue.
    static func queue(_ name: String, messages: UInt64 = 0) -> AMQPValue {
        [
            "leader": "rabbit@localhost", "replicas": .array(AMQPArray(strings: ["rabbit@localhost"])),
            "message_count": .ulong(messages), "consumer_count": .uint(2), "name": .string(name), "vhost": "/",
            "durable": true, "auto_delete": false, "exclusive": false, "type": "quorum",
            "arguments": ["x-queue-type": "quorum"],
        ]
    }
}
