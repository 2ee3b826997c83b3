// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton
import Synchronization

/// Serves the connections of a listener.
struct Server: Sendable {
    let store: QueueStore

    /// Serves until the task is cancelled; then closes the listener and the connections.
    func serve(_ listener: AMQPListener) async {
        await withDiscardingTaskGroup { group in
            let connections = listener.makeAsyncIterator()
            while let connection = try? await connections.next(isolation: nil) {
                self.store.counters.connections.add(1)
                group.addTask { await self.serve(connection) }
            }
            group.cancelAll()
        }
        // The task is cancelled, but the following close must not be.
        await Task { await listener.close() }.value
    }

    /// Handles the requests of a connection until it ends.
    private func serve(_ connection: AMQPConnection) async {
        let dynamic = DynamicQueues(store: self.store)
        await withDiscardingTaskGroup { group in
            let wishes = connection.incoming.makeAsyncIterator()
            while let wish = try? await wishes.next(isolation: nil) {
                switch wish {
                case .session(let session): _ = try? await session.accept()
                case .receiver(let incoming): group.addTask { await self.serve(incoming, dynamic) }
                case .sender(let incoming): group.addTask { await self.serve(incoming, dynamic) }
                }
            }
            // The links have ended with the connection. Their tasks receive the remaining messages, and end too.
        }
        let reason =
            Task.isCancelled
            ? AMQPError(scope: .connection, condition: .connectionForced, detail: "the broker is shutting down") : nil
        try? await Closing.run(within: Closing.shortLimit) { await connection.close(reason) }
        dynamic.removeAll()
    }

    /// Handles a sender of the peer.
    private func serve(_ incoming: AMQPIncomingReceiver, _ dynamic: DynamicQueues) async {
        guard var target = incoming.attach.target else {
            return incoming.refuse(
                AMQPError(scope: .link, condition: .notImplemented, detail: "there are no targets but queues here")
            )
        }
        var queue: Queue?
        if target.isDynamic {
            let made = dynamic.make()
            target.address = made.name
            queue = made
        } else if let address = target.address {
            queue = self.store.queue(address)
        }
        var configuration = AMQPReceiver.Configuration(window: queue == nil ? .messages(Producer.window) : .manual)
        configuration.target = target
        configuration.maxMessageSize = .gibibytes(1)
        configuration.senderSettleMode = incoming.attach.senderSettleMode
        guard let receiver = try? await incoming.accept(configuration) else { return }
        let producer = Producer(receiver: receiver, store: self.store)
        if let queue { await producer.run(to: queue) } else { await producer.runAnonymous() }
        guard receiver.error == nil else { return }
        // The link ends with its last reference, so the reason is sent first.
        let reason = Self.linkEnd
        try? await Closing.run(within: Closing.shortLimit) { await receiver.close(reason) }
    }

    /// The reason why the broker closes a link; `nil` while it is running.
    static var linkEnd: AMQPError? {
        Task.isCancelled
            ? AMQPError(scope: .link, condition: .linkDetachForced, detail: "the broker is shutting down") : nil
    }

    /// Handles a receiver of the peer.
    private func serve(_ incoming: AMQPIncomingSender, _ dynamic: DynamicQueues) async {
        var source = incoming.attach.source ?? AMQPSource()
        let queue: Queue
        if source.isDynamic {
            queue = dynamic.make()
            source.address = queue.name
        } else if let address = source.address {
            queue = self.store.queue(address)
        } else {
            return incoming.refuse(
                AMQPError(scope: .link, condition: .invalidField, detail: "the source names no address")
            )
        }
        // Unsupported features must not be confirmed: there are no filters here, and no copies.
        source.filters = []
        source.distributionMode = .move
        var configuration = AMQPSender.Configuration()
        configuration.source = source
        configuration.settleMode = incoming.attach.senderSettleMode == .settled ? .settled : .unsettled
        configuration.receiverSettleMode = incoming.attach.receiverSettleMode
        guard let sender = try? await incoming.accept(configuration) else { return }
        await Consumer(sender: sender, queue: queue).run()
    }
}

/// The queues created for one connection, which end with it.
private final class DynamicQueues: Sendable {
    private let store: QueueStore
    private let queues = Mutex<[Queue]>([])

    init(store: QueueStore) {
        self.store = store
    }

    func make() -> Queue {
        let queue = self.store.makeDynamicQueue()
        self.queues.withLock { $0.append(queue) }
        return queue
    }

    func removeAll() {
        for queue in self.queues.withLock({ $0 }) { self.store.remove(queue) }
    }
}
