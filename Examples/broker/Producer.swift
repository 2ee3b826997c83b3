// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// The broker's end of a link on which the peer sends.
struct Producer {
    /// The most messages that may be in flight from one link to a queue.
    static let window = 1_000
    private static let batch = 256

    let receiver: AMQPReceiver
    let store: QueueStore

    /// Puts received messages into one queue, until the link ends.
    func run(to queue: Queue) async {
        let id = queue.addProducer(self.receiver)
        defer { queue.removeProducer(id) }
        while let batch = try? await self.receiver.nextBatch(max: Self.batch), !batch.isEmpty {
            var payloads: [ByteBuffer] = []
            payloads.reserveCapacity(batch.count)
            var refusals: [(delivery: AMQPDelivery, reason: AMQPError)] = []
            for delivery in batch {
                if let reason = self.tooLarge(delivery) {
                    refusals.append((delivery, reason))
                } else {
                    payloads.append(delivery.payload)
                }
            }
            queue.push(payloads, from: id, usedCredit: batch.count)
            for refusal in refusals { refusal.delivery.reject(refusal.reason) }
            // A second decision does nothing, so rejected messages stay rejected.
            for delivery in batch { delivery.accept() }
            self.store.counters.refused.add(refusals.count)
        }
    }

    /// Puts each message into the queue that its `to` names, until the link ends.
    func runAnonymous() async {
        let (signals, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        var signal = signals.makeAsyncIterator()
        // A message waits for a full queue while the link is open.
        let watch = Task { [receiver] in
            try? await receiver.waitUntilClosed()
            wake.finish()
        }
        defer { watch.cancel() }
        while let delivery = try? await self.receiver.next() {
            if let reason = self.tooLarge(delivery) ?? Self.unroutable(delivery) {
                delivery.reject(reason)
                self.store.counters.refused.add(1)
                continue
            }
            guard let address = try? delivery.decodeMessage().properties.to else { continue }
            let queue = self.store.queue(address)
            while !queue.tryPush(delivery.payload, wake: wake) {
                guard await signal.next() != nil else { return }
            }
            delivery.accept()
        }
    }

    private func tooLarge(_ delivery: AMQPDelivery) -> AMQPError? {
        guard let limit = self.store.limits.messageBytes, delivery.payload.readableBytes > limit else { return nil }
        let text = "the message has \(delivery.payload.readableBytes) bytes, and at most \(limit) are accepted"
        return AMQPError(scope: .delivery, condition: .resourceLimitExceeded, detail: text)
    }

    private static func unroutable(_ delivery: AMQPDelivery) -> AMQPError? {
        do {
            if try delivery.decodeMessage().properties.to != nil { return nil }
            return AMQPError(
                scope: .delivery,
                condition: .preconditionFailed,
                detail: "a message to the anonymous terminus needs a 'to'"
            )
        } catch {
            return error
        }
    }
}
