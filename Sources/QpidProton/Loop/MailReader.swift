// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import Logging

/// The reader of the tasks' mail, which queues messages, applies settlements, and executes commands. Used on the event
/// loop only.
final class MailReader {
    private let outbox: Outbox
    private let sending: SendFeed
    // Exclusivity checks are off, because no consequence of the mail reads other mail.
    @exclusivity(unchecked) private var mail = Outbox.Mail()
    /// Written or abandoned bytes that are still on the ledgers.
    @exclusivity(unchecked) private var releases: [Outbox.Release] = []
    /// The ended lanes, with the error for their messages in the outbox.
    @exclusivity(unchecked) private var endedLanes: [EndedLane] = []

    init(_ outbox: Outbox, _ sending: SendFeed) {
        self.outbox = outbox
        self.sending = sending
    }

    /// Removes bytes from the ledgers with the next mail.
    @inline(__always)
    func release(_ bytes: Int, _ node: SlotKey) { self.releases.append((bytes, node)) }

    /// Records that the lane of a sender has ended.
    func end(_ lane: EndedLane) { self.endedLanes.append(lane) }

    /// Handles the mail. Returns whether there was mail.
    func read(for handler: ConnectionHandler) -> Bool {
        // Tasks post no mail for an ended lane, so this mail holds its rest.
        let ended = self.endedLanes.count
        defer { if ended > 0 { self.endedLanes.removeFirst(ended) } }
        guard self.outbox.isScheduled || !self.releases.isEmpty else { return false }
        // Read the mail in place, because no consequence of it reads other mail.
        self.outbox.take(&self.mail, releasing: self.releases, at: handler.now)
        self.releases.removeAll(keepingCapacity: true)
        guard !self.mail.isEmpty else { return false }
        if !self.mail.choices.isEmpty { self.keepChoices(for: handler) }
        if !self.mail.settlements.isEmpty { self.settle(&self.mail.settlements, for: handler) }
        var index = 0
        while index < self.mail.items.count {
            switch self.mail.items[index] {
            case .message(let message):
                index = self.enqueue(message, at: index, for: handler)
                continue
            case .part(let part): self.enqueue(part)
            case .taken(let count, let receiver): handler.receivers[receiver]?.taken(count)
            case .command:
                if let command = self.mail.commands.popFirst() { CommandRunner(handler: handler).perform(command) }
            }
            index += 1
        }
        self.mail.items.removeAll(keepingCapacity: true)
        return true
    }

    /// Stores the options of messages in the mail.
    private func keepChoices(for handler: ConnectionHandler) {
        if let next = self.mail.choices.values.compactMap(\.deadline).min() {
            handler.timers.expireMessages(of: handler, at: next)
        }
        if handler.choices.keep(&self.mail.choices) { self.sending.makeRoomForTags() }
    }

    /// Queues a run of messages of one lane. Returns the end of the run.
    private func enqueue(_ first: PendingMessage, at start: Int, for handler: ConnectionHandler) -> Int {
        guard let lane = self.sending.queue.lane(first.lane) else {
            return self.failLate(first, at: start, for: handler)
        }
        var index = start
        var message = first
        repeat {
            self.sending.queue.append(message, to: lane)
            index += 1
            guard index < self.mail.items.count, case .message(let next) = self.mail.items[index] else { break }
            message = next
        } while message.lane == first.lane
        self.sending.filled(lane)
        return index
    }

    /// Fails a run of messages of an ended lane. Returns the end of the run.
    private func failLate(_ first: PendingMessage, at start: Int, for handler: ConnectionHandler) -> Int {
        var index = start
        let ended = self.endedLanes.first { $0.key == first.lane }
        let error = ended?.error ?? .senderClosed
        while index < self.mail.items.count, case .message(let message) = self.mail.items[index],
            message.lane == first.lane
        {
            self.releases.append((message.ledgerBytes, message.node))
            handler.metrics?.count(error, of: message)
            let options = handler.choices.take(of: message)?.options ?? AMQPSendOptions()
            if let ended { ended.fail(message, options) } else { message.fail(error) }
            index += 1
        }
        handler.logger.gaveUp(unsent: index - start, error)
        return index
    }

    private func enqueue(_ part: StreamPart) {
        if let lane = self.sending.queue.lane(part.lane), self.sending.queue.enqueue(part, on: lane) {
            return lane.link.noteCause()
        }
        self.releases.append((part.ledgerBytes, part.node))
        part.bytes.done()
    }

    /// Applies settlements in the order of arrival, so that Proton can send ranges.
    private func settle(_ settlements: inout [Settlement], for handler: ConnectionHandler) {
        // Settlements that include earlier deliveries stay unsorted, because the first of two decisions counts. Most
        // settlements arrive in order.
        let isInOrder = zip(settlements, settlements.dropFirst()).allSatisfy { $0.sequence < $1.sequence }
        if !isInOrder, !settlements.contains(where: \.includesEarlier) {
            let sorted = settlements.enumerated().sorted {
                ($0.element.sequence, $0.offset) < ($1.element.sequence, $1.offset)
            }
            settlements = sorted.map(\.element)
        }
        var late: [Settlement] = []
        for settlement in settlements {
            if let receiver = handler.receivers[settlement.receiver] {
                receiver.settle(settlement)
            } else {
                late.append(settlement)
            }
        }
        if !late.isEmpty { handler.decisionWrites.settle(late) }
        settlements.removeAll(keepingCapacity: true)
        for receiver in handler.settlingReceivers { receiver.settled() }
        handler.settlingReceivers.removeAll(keepingCapacity: true)
    }

    /// Closes the outbox, and fails its messages.
    ///
    /// - Parameter cause: The error that ended the connection.
    func close(_ cause: AMQPError, for handler: ConnectionHandler) {
        let mail = self.outbox.close(cause)
        handler.decisionWrites.settle(mail.settlements)
        let unsent = cause.telling(.notSent)
        var unsentCount = 0
        defer { handler.logger.gaveUp(unsent: unsentCount, cause) }
        for item in mail.items {
            switch item {
            case .message(let message):
                unsentCount += 1
                handler.metrics?.count(unsent, of: message)
                if let lane = self.endedLanes.first(where: { $0.key == message.lane }) {
                    lane.fail(message, mail.choices[message.outcome.number]?.options ?? AMQPSendOptions())
                } else {
                    message.fail(unsent)
                }
            case .part(let part): part.bytes.done()
            case .taken, .command: break
            }
        }
        for command in mail.commands { CommandRunner(handler: handler).perform(command) }
    }
}
