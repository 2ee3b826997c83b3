// SPDX-License-Identifier: Apache-2.0

import DequeModule
import NIOCore
import QpidProton

/// The contents of a queue, and the choice of consumers and producers.
struct QueueState {
    struct ConsumerState {
        let id: UInt64
        let wake: AsyncStream<Void>.Continuation
        /// The total credit of the consumer.
        var limit = 0
        /// The number of messages that were assigned to the consumer.
        var assigned = 0
        /// Messages for the consumer that no task has sent yet.
        var outbox: [StoredMessage] = []
        /// The consumer's unsettled messages, by their places.
        var unsettled: [UInt64: StoredMessage] = [:]
    }

    struct ProducerState {
        let id: UInt64
        let receiver: AMQPReceiver
        /// Unused credit.
        var outstanding = 0
    }

    let limit: Int?
    private var available: Deque<StoredMessage> = []
    private(set) var count = 0
    private(set) var bytes = 0
    private(set) var peakBytes = 0
    /// The size of the largest message so far, which is the assumed size of a message in flight; 0 before the first
    /// message.
    private var largest = 0
    private var nextPlace: UInt64 = 0
    private var nextID: UInt64 = 0
    var consumers: [ConsumerState] = []
    private var turn = 0
    var producers: [ProducerState] = []
    private var producerTurn = 0
    var roomWaiters: [AsyncStream<Void>.Continuation] = []

    init(limit: Int?) {
        self.limit = limit
    }

    // MARK: Messages

    mutating func append(_ payload: ByteBuffer) {
        self.available.append(StoredMessage(place: self.nextPlace, payload: payload))
        self.nextPlace += 1
        self.count += 1
        self.largest = max(self.largest, payload.readableBytes)
        self.bytes += payload.readableBytes
        self.peakBytes = max(self.peakBytes, self.bytes)
    }

    mutating func drop(_ message: StoredMessage) {
        self.count -= 1
        self.bytes -= message.bytes
    }

    mutating func replace(bytes: Int, with newBytes: Int) {
        self.bytes += newBytes - bytes
    }

    /// Returns messages to their places.
    mutating func giveBack(_ messages: [StoredMessage]) {
        var merged = messages.sorted { $0.place < $1.place }
        guard let last = merged.last else { return }
        // Only available messages before the last returned one can be between the returned ones.
        var front: [StoredMessage] = []
        while let first = self.available.first, first.place < last.place {
            front.append(first)
            self.available.removeFirst()
        }
        if !front.isEmpty { merged = (merged + front).sorted { $0.place < $1.place } }
        self.available.insert(contentsOf: merged, at: 0)
    }

    // MARK: Links

    mutating func addConsumer(_ wake: AsyncStream<Void>.Continuation) -> UInt64 {
        self.nextID += 1
        self.consumers.append(ConsumerState(id: self.nextID, wake: wake))
        return self.nextID
    }

    mutating func withConsumer(_ id: UInt64, _ body: (inout ConsumerState) -> Void) {
        guard let index = self.consumers.firstIndex(where: { $0.id == id }) else { return }
        body(&self.consumers[index])
    }

    mutating func addProducer(_ receiver: AMQPReceiver) -> UInt64 {
        self.nextID += 1
        self.producers.append(ProducerState(id: self.nextID, receiver: receiver))
        return self.nextID
    }

    // MARK: Decisions

    /// Assigns messages to consumers and credit to producers, as far as possible now.
    mutating func settleDown() -> Queue.Effects {
        var effects = Queue.Effects()
        self.dispatch(&effects)
        self.grant(&effects)
        if !self.roomWaiters.isEmpty, self.hasRoom(for: self.largest) || self.count == 0 {
            effects.wakes += self.roomWaiters
            self.roomWaiters = []
        }
        return effects
    }

    /// Assigns each message to the next consumer with credit that may receive it.
    private mutating func dispatch(_ effects: inout Queue.Effects) {
        guard !self.available.isEmpty, self.consumers.contains(where: { $0.assigned < $0.limit }) else { return }
        var woken = Array(repeating: false, count: self.consumers.count)
        var skipped: [StoredMessage] = []
        while let message = self.available.first {
            guard let index = self.nextConsumer(for: message) else {
                // If the message excludes no consumer, no consumer has credit.
                guard !message.excluded.isEmpty else { break }
                skipped.append(message)
                self.available.removeFirst()
                continue
            }
            self.available.removeFirst()
            self.consumers[index].outbox.append(message)
            self.consumers[index].assigned += 1
            self.turn = index + 1
            woken[index] = true
        }
        if !skipped.isEmpty { self.available.insert(contentsOf: skipped, at: 0) }
        for (index, isWoken) in woken.enumerated() where isWoken { effects.wakes.append(self.consumers[index].wake) }
    }

    private func nextConsumer(for message: StoredMessage) -> Int? {
        for step in 0..<self.consumers.count {
            let index = (self.turn + step) % self.consumers.count
            guard self.consumers[index].assigned < self.consumers[index].limit else { continue }
            if message.excluded.isEmpty || !message.excluded.contains(self.consumers[index].id) { return index }
        }
        return nil
    }

    func hasRoom(for bytes: Int) -> Bool {
        guard let limit = self.limit else { return true }
        return self.count == 0 || bytes <= limit - self.bytes - self.reserved
    }

    /// The possible bytes of messages in flight.
    private var reserved: Int {
        self.producers.reduce(0) { $0 + $1.outstanding } * self.largest
    }

    /// Grants credit so that stored messages and those in flight stay within the limit.
    private mutating func grant(_ effects: inout Queue.Effects) {
        for step in 0..<self.producers.count {
            let index = (self.producerTurn + step) % self.producers.count
            let credit = self.credit(for: self.producers[index].outstanding)
            guard credit > 0 else { continue }
            self.producers[index].outstanding += credit
            effects.grants.append((self.producers[index].receiver, credit))
        }
        self.producerTurn += 1
    }

    private func credit(for outstanding: Int) -> Int {
        let window = Producer.window
        guard let limit = self.limit else { return outstanding > window / 2 ? 0 : window - outstanding }
        // The size of messages is unknown before the first one.
        guard self.largest > 0 else { return outstanding == 0 ? 1 : 0 }
        let room = (limit - self.bytes - self.reserved) / self.largest
        // A silent producer must leave room for the others.
        let share = max(1, min(window, limit / 4 / self.producers.count / self.largest))
        let credit = min(room, share - outstanding)
        if outstanding == 0 {
            // A message larger than the limit passes when the queue is empty.
            return self.count == 0 ? max(1, credit) : max(0, credit)
        }
        return outstanding <= share / 2 ? max(0, credit) : 0
    }
}
