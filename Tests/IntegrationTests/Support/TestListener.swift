// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization

/// A listener that collects received messages, and sends its own messages to every receiver.
///
/// It refuses links to the address `nowhere`.
final class TestListener: Sendable {
    let listener: AMQPListener
    private let offer: [AMQPMessage]
    private let window: AMQPReceiver.Window
    private let attached = Mutex<[AMQPReceiver]>([])
    private let collected = Mutex<[AMQPDelivery]>([])
    private let opened = Mutex<[AMQPConnection]>([])
    private let endings = Mutex<[AMQPError?]>([])

    private init(_ listener: AMQPListener, _ offer: [AMQPMessage], _ window: AMQPReceiver.Window) {
        self.listener = listener
        self.offer = offer
        self.window = window
    }

    var url: String { "amqp://127.0.0.1:\(self.listener.port)" }
    var tlsURL: String { "amqps://localhost:\(self.listener.port)" }
    /// The received deliveries, all of which are accepted.
    var deliveries: [AMQPDelivery] { self.collected.withLock { $0 } }
    /// The receivers of the peers' senders, including ended ones.
    var receivers: [AMQPReceiver] { self.attached.withLock { $0 } }
    /// The connections so far.
    var connections: [AMQPConnection] { self.opened.withLock { $0 } }
    /// The errors of the ended connections; `nil` for an end without an error.
    var ends: [AMQPError?] { self.endings.withLock { $0 } }

    /// Runs `body` with a listener, and closes it with its connections.
    @discardableResult
    static func with<Result>(
        _ configuration: AMQPListener.Configuration = .init(),
        offering messages: [AMQPMessage] = [],
        window: AMQPReceiver.Window = .automatic,
        host: String = "127.0.0.1",
        _ body: (TestListener) async throws -> Result
    ) async throws -> Result {
        let listener = try await AMQPListener.bind(host: host, port: 0, configuration: configuration)
        let test = TestListener(listener, messages, window)
        let service = Task { await test.serve() }
        do {
            let result = try await body(test)
            await test.stop(service)
            return result
        } catch {
            await test.stop(service)
            throw error
        }
    }

    private func stop(_ service: Task<Void, Never>) async {
        service.cancel()
        await self.listener.close()
        await service.value
    }

    private func serve() async {
        await withDiscardingTaskGroup { group in
            let connections = self.listener.makeAsyncIterator()
            while let connection = try? await connections.next(isolation: nil) {
                self.opened.withLock { $0.append(connection) }
                group.addTask { await self.serve(connection) }
            }
            group.cancelAll()
        }
    }

    private func serve(_ connection: AMQPConnection) async {
        await withDiscardingTaskGroup { group in
            let wishes = connection.incoming.makeAsyncIterator()
            do throws(AMQPError) {
                while let wish = try await wishes.next(isolation: nil) { await self.serve(wish, in: &group) }
                self.endings.withLock { $0.append(nil) }
            } catch {
                self.endings.withLock { $0.append(error) }
            }
            // The links have ended with the connection, so their tasks receive the last messages and end too.
        }
        await Task { _ = await connection.close() }.value
    }

    private func serve(_ wish: AMQPIncoming, in group: inout DiscardingTaskGroup) async {
        let refusal = AMQPError(scope: .link, condition: .notFound, detail: "there is no such node")
        switch wish {
        case .session(let session): _ = try? await session.accept()
        case .receiver(let incoming) where incoming.attach.target?.address == "nowhere": incoming.refuse(refusal)
        case .sender(let incoming) where incoming.attach.source?.address == "nowhere": incoming.refuse(refusal)
        case .receiver(let incoming): group.addTask { await self.collect(incoming) }
        case .sender(let incoming): group.addTask { await self.send(incoming) }
        }
    }

    private func collect(_ incoming: AMQPIncomingReceiver) async {
        guard let receiver = try? await incoming.accept(.init(window: self.window)) else { return }
        self.attached.withLock { $0.append(receiver) }
        while let delivery = try? await receiver.next() {
            self.collected.withLock { $0.append(delivery) }
            delivery.accept()
        }
    }

    private func send(_ incoming: AMQPIncomingSender) async {
        guard let sender = try? await incoming.accept() else { return }
        for message in self.offer { _ = try? await sender.enqueue(message) }
        try? await sender.waitUntilClosed()
    }
}
