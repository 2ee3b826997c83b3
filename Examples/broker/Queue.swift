// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import Synchronization

/// A message in a queue.
struct StoredMessage: Sendable {
    /// The message's place in the queue, which does not change when the message is returned.
    let place: UInt64
    var payload: ByteBuffer
    /// The consumers that must not receive the message again.
    var excluded: [UInt64] = []

    var bytes: Int { self.payload.readableBytes }
}

/// A queue: messages in order, consumers that receive them in turn, and producers that send them.
///
/// One lock protects everything, and is acquired once per batch. Effects on others (waking a consumer, granting credit)
/// happen after its release.
final class Queue: Sendable {
    let name: String
    private let counters: Counters
    private let state: Mutex<QueueState>

    init(name: String, limit: Int?, counters: Counters) {
        self.name = name
        self.counters = counters
        self.state = Mutex(QueueState(limit: limit))
    }

    /// The work to do after the release of the lock.
    struct Effects {
        var wakes: [AsyncStream<Void>.Continuation] = []
        var grants: [(receiver: AMQPReceiver, credit: Int)] = []

        func run() {
            for wake in self.wakes { wake.yield() }
            for grant in self.grants { grant.receiver.grant(credit: grant.credit) }
        }
    }

    private func update<Result>(_ body: (inout QueueState) -> Result) -> Result {
        let (result, effects) = self.state.withLock { state in
            let result = body(&state)
            return (result, state.settleDown())
        }
        effects.run()
        return result
    }

    /// The current messages and bytes, including messages that consumers have not settled, and the peak of the bytes.
    var size: (messages: Int, bytes: Int, peakBytes: Int) {
        self.state.withLock { ($0.count, $0.bytes, $0.peakBytes) }
    }

    // MARK: Producers

    /// Adds a producer, and grants it credit while there is room.
    func addProducer(_ receiver: AMQPReceiver) -> UInt64 {
        self.update { $0.addProducer(receiver) }
    }

    func removeProducer(_ id: UInt64) {
        self.update { state in state.producers.removeAll { $0.id == id } }
    }

    /// Accepts messages of a producer, which have used `usedCredit` of its credit.
    func push(_ payloads: [ByteBuffer], from id: UInt64, usedCredit: Int) {
        self.counters.received.add(payloads.count)
        self.update { state in
            if let index = state.producers.firstIndex(where: { $0.id == id }) {
                state.producers[index].outstanding -= usedCredit
            }
            for payload in payloads { state.append(payload) }
        }
    }

    /// Accepts a message without credit of this queue, if there is room; otherwise calls `wake` when there is.
    func tryPush(_ payload: ByteBuffer, wake: AsyncStream<Void>.Continuation) -> Bool {
        let isTaken = self.update { state in
            guard state.hasRoom(for: payload.readableBytes) else {
                state.roomWaiters.append(wake)
                return false
            }
            state.append(payload)
            return true
        }
        self.counters.received.add(isTaken ? 1 : 0)
        return isTaken
    }

    // MARK: Consumers

    /// The decision of a consumer about the message at a place.
    typealias Decision = (place: UInt64, outcome: AMQPOutcome)

    /// Adds a consumer; `wake` is called when it has messages.
    func addConsumer(wake: AsyncStream<Void>.Continuation) -> UInt64 {
        self.update { $0.addConsumer(wake) }
    }

    /// Reports the total number of messages that the consumer accepts since its addition.
    func setDeliveryLimit(_ limit: Int, of id: UInt64) {
        self.update { state in state.withConsumer(id) { $0.limit = limit } }
    }

    /// Returns the next messages for the consumer, which keeps them until it settles them or ends.
    func takeOutbox(of id: UInt64) -> [StoredMessage] {
        let messages = self.state.withLock { state in
            var messages: [StoredMessage] = []
            state.withConsumer(id) { consumer in
                swap(&consumer.outbox, &messages)
                for message in messages { consumer.unsettled[message.place] = message }
            }
            return messages
        }
        self.counters.delivered.add(messages.count)
        return messages
    }

    /// Returns a message that the consumer cannot accept at all.
    func exclude(_ id: UInt64, from place: UInt64) {
        self.update { state in
            var message: StoredMessage?
            state.withConsumer(id) { consumer in
                message = consumer.unsettled.removeValue(forKey: place)
                consumer.assigned -= 1
            }
            guard var message else { return }
            message.excluded.append(id)
            state.giveBack([message])
        }
    }

    /// Applies the decisions of a consumer.
    func settle(_ id: UInt64, _ decisions: [Decision]) {
        guard !decisions.isEmpty else { return }
        self.update { state in
            var decided: [(StoredMessage, AMQPOutcome)] = []
            decided.reserveCapacity(decisions.count)
            state.withConsumer(id) { consumer in
                for (place, outcome) in decisions {
                    if let message = consumer.unsettled.removeValue(forKey: place) {
                        decided.append((message, outcome))
                    }
                }
            }
            self.apply(decided, of: id, &state)
        }
    }

    /// Removes a consumer; its unsettled messages return in order.
    func removeConsumer(_ id: UInt64) {
        self.update { state in
            guard let index = state.consumers.firstIndex(where: { $0.id == id }) else { return }
            let consumer = state.consumers.remove(at: index)
            self.counters.returned.add(consumer.unsettled.count)
            state.giveBack(Array(consumer.unsettled.values) + consumer.outbox)
        }
    }

    private func apply(_ decided: [(StoredMessage, AMQPOutcome)], of id: UInt64, _ state: inout QueueState) {
        var counts = (accepted: 0, rejected: 0, settled: 0, released: 0, modified: 0)
        var back: [StoredMessage] = []
        for (message, outcome) in decided {
            switch outcome {
            case .accepted: counts.accepted += 1
            case .rejected: counts.rejected += 1
            case .settled: counts.settled += 1
            case .released:
                counts.released += 1
                back.append(message)
                continue
            case .modified(let changes):
                counts.modified += 1
                var changed = message
                if changes.undeliverableHere { changed.excluded.append(id) }
                changed.payload = Redelivery.apply(changes, to: message.payload)
                state.replace(bytes: message.bytes, with: changed.bytes)
                back.append(changed)
                continue
            }
            state.drop(message)
        }
        self.counters.accepted.add(counts.accepted)
        self.counters.rejected.add(counts.rejected)
        self.counters.settled.add(counts.settled)
        self.counters.released.add(counts.released)
        self.counters.modified.add(counts.modified)
        if !back.isEmpty { state.giveBack(back) }
    }
}
