// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton
import Synchronization

/// The broker's end of a link on which the peer receives.
struct Consumer: Sendable {
    let sender: AMQPSender
    let queue: Queue

    /// Sends the queue's messages to the peer within its credit, until the link ends.
    func run() async {
        let (work, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = self.queue.addConsumer(wake: wake)
        let decisions = Decisions()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.deliver(id, work, decisions) }
            group.addTask { await self.settle(id, decisions) }
            group.addTask { await self.followCredit(id) }
            group.addTask { try? await self.sender.waitUntilClosed() }
            await group.next()
            group.cancelAll()
        }
        self.queue.settle(id, decisions.take())
        self.queue.removeConsumer(id)
        let sender = self.sender
        guard sender.error == nil else { return }
        let reason = Server.linkEnd
        try? await Closing.run(within: Closing.shortLimit) { await sender.close(reason) }
    }

    /// Reports the peer's total credit to the queue.
    private func followCredit(_ id: UInt64) async {
        var limit = 0
        while let next = try? await self.sender.deliveryLimit(after: limit) {
            limit = next
            self.queue.setDeliveryLimit(limit, of: id)
        }
    }

    /// Sends this consumer's next messages.
    private func deliver(_ id: UInt64, _ work: AsyncStream<Void>, _ decisions: Decisions) async {
        for await _ in work {
            for message in self.queue.takeOutbox(of: id) {
                do {
                    let tracker = try await self.sender.enqueue(encoded: message.payload)
                    tracker.whenSettled { result in
                        // A failure is the end of the link, after which all messages return at once and in order.
                        if case .success(let outcome) = result { decisions.add((message.place, outcome)) }
                    }
                } catch  where error.condition == .linkMessageSizeExceeded && self.sender.error == nil {
                    // The peer accepts no message of this size, but another may.
                    self.queue.exclude(id, from: message.place)
                } catch {
                    return
                }
            }
        }
    }

    /// Applies the peer's decisions, in batches.
    private func settle(_ id: UInt64, _ decisions: Decisions) async {
        for await _ in decisions.signals { self.queue.settle(id, decisions.take()) }
    }
}

/// The decisions of a consumer that the queue does not have yet. The event loop adds them, and a task removes them.
private final class Decisions: Sendable {
    let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation
    private let decisions = Mutex<[Queue.Decision]>([])

    init() {
        (self.signals, self.signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    func add(_ decision: Queue.Decision) {
        let isFirst = self.decisions.withLock { decisions in
            decisions.append(decision)
            return decisions.count == 1
        }
        if isFirst { self.signal.yield() }
    }

    func take() -> [Queue.Decision] {
        self.decisions.withLock { decisions in
            defer { decisions = [] }
            return decisions
        }
    }
}
