import DequeModule
import QpidProton
import Synchronization

/// The broker's end of a link on which the peer receives.
struct Consumer: Sendable {
    let sender: AMQPSender
    let queue: Queue

    /// Gives the peer messages of the queue as it has credit, until the link ends.
    func run() async {
        let (work, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (sent, wakeSettler) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = self.queue.addConsumer(wake: wake)
        let enqueued = Enqueued()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.deliver(id, work, wakeSettler, enqueued) }
            group.addTask { await self.settle(id, sent) }
            group.addTask { await self.sweep(id) }
            group.addTask { await self.followCredit(id, enqueued) }
            group.addTask { try? await self.sender.waitUntilClosed() }
            await group.next()
            group.cancelAll()
        }
        self.queue.removeConsumer(id)
        let sender = self.sender
        if sender.error == nil { await Task { try? await sender.close() }.value }
    }

    /// Sends what it is this consumer's turn to get.
    private func deliver(
        _ id: UInt64,
        _ work: AsyncStream<Void>,
        _ wakeSettler: AsyncStream<Void>.Continuation,
        _ enqueued: Enqueued
    ) async {
        for await _ in work {
            var messages = self.queue.takeOutbox(of: id)
            var sent: [Sent] = []
            sent.reserveCapacity(messages.count)
            while let message = messages.popFirst() {
                do {
                    let transfer = try await self.sender.enqueue(encoded: message.payload)
                    sent.append(Sent(message: message, transfer: transfer))
                    enqueued.count.wrappingAdd(1, ordering: .relaxed)
                } catch where error.condition == .linkMessageSizeExceeded && self.sender.error == nil {
                    // The peer takes no message as large as this: others may.
                    self.queue.putBack(CollectionOfOne(message), of: id, isExcluding: true)
                    enqueued.count.wrappingAdd(1, ordering: .relaxed)
                } catch {
                    messages.prepend(message)
                    break
                }
            }
            self.queue.noteSent(sent, to: id)
            wakeSettler.yield()
            guard messages.isEmpty else { return self.queue.putBack(messages, of: id, isExcluding: false) }
        }
    }

    /// Does what the peer decides, from the oldest message on.
    private func settle(_ id: UInt64, _ sent: AsyncStream<Void>) async {
        for await _ in sent {
            while let transfer = self.queue.oldestTransfer(of: id) {
                guard (try? await transfer.outcome()) != nil else { return }
                self.queue.settle(id)
            }
        }
    }

    /// Does what the peer decides of later messages while it keeps the oldest.
    private func sweep(_ id: UInt64) async {
        while (try? await Task.sleep(for: .milliseconds(20))) != nil {
            if self.queue.oldestTransfer(of: id) != nil { self.queue.settle(id) }
        }
    }

    /// Tells the queue how many messages the peer takes.
    private func followCredit(_ id: UInt64, _ enqueued: Enqueued) async {
        var limit = 0
        while true {
            let count = enqueued.count.load(ordering: .relaxed)
            // The credit is of use only when everything that was accepted has used its own.
            if self.sender.outgoingBytes == 0 {
                let now = count + self.sender.credit
                if now != limit, enqueued.count.load(ordering: .relaxed) == count {
                    limit = now
                    self.queue.setDeliveryLimit(limit, of: id)
                }
            }
            guard (try? await Task.sleep(for: .milliseconds(1))) != nil else { return }
        }
    }
}

/// How many messages were accepted for a consumer.
private final class Enqueued: Sendable {
    let count = Atomic(0)
}
