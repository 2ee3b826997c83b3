// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The unfinished work of a connection's links, a session's links or one link, collected during closes.
///
/// A link that ends adds itself on the loop. Every close of the same object returns the same list.
final class CloseReport: Sendable {
    /// An ended receiver.
    struct Receiver: Sendable {
        let linkName: String
        let address: String?
        let settlements: UnsentSettlements
    }

    private struct State: Sendable {
        /// The number of running closes.
        var closes = 0
        /// The senders by their lanes.
        var senders: [(lane: SlotKey, unfinished: AMQPUnfinished)] = []
        var receivers: [Receiver] = []
    }

    private let state = Mutex(State())
    /// The failures outside of any close.
    let unread = UnreadFailures()

    /// Whether a close is running, so that ended links must be added.
    var isOpen: Bool { self.state.withLock { $0.closes > 0 } }

    func begin() { self.state.withLock { $0.closes += 1 } }
    func end() { self.state.withLock { $0.closes -= 1 } }

    func add(_ sender: AMQPUnfinished, lane: SlotKey) { self.state.withLock { $0.senders.append((lane, sender)) } }

    /// Adds a message that was accepted before a sender ended, and arrived on the loop after this end.
    func add(_ message: AMQPUnfinished.Unsent, to sender: EndedLane) {
        self.state.withLock { state in
            if let index = state.senders.firstIndex(where: { $0.lane == sender.key }) {
                state.senders[index].unfinished.notSent.append(message)
            } else {
                var unfinished = AMQPUnfinished(linkName: sender.linkName, address: sender.address)
                unfinished.notSent = [message]
                state.senders.append((sender.key, unfinished))
            }
        }
    }

    /// Adds a receiver, once.
    func add(_ receiver: Receiver) {
        self.state.withLock { state in
            guard !state.receivers.contains(where: { $0.settlements === receiver.settlements }) else { return }
            state.receivers.append(receiver)
        }
    }

    /// Returns the result of a close.
    ///
    /// - Parameters:
    ///   - error: The reason why the close was not orderly. Without an error the peer has answered, and has therefore
    ///     read all decisions.
    ///   - unwritten: Returns the number of decisions about a receiver's messages that are still on their way to the
    ///     socket.
    ///   - isLate: Whether the limit ended the work before the close.
    func result(_ error: AMQPError?, isLate: Bool = false, unwritten: (UnsentSettlements) -> Int) -> AMQPCloseResult {
        let (senders, receivers) = self.state.withLock { ($0.senders.map(\.unfinished), $0.receivers) }
        let unfinished = receivers.map { receiver in
            let rest = receiver.settlements.rest(
                isAnswered: error == nil,
                unwritten: unwritten(receiver.settlements)
            )
            var unfinished = AMQPUnfinished(linkName: receiver.linkName, address: receiver.address)
            unfinished.settlementsNotWritten = rest.notWritten
            unfinished.settlementsInDoubt = rest.inDoubt
            unfinished.deliveriesNotSettled = rest.undecided
            return unfinished
        }
        return AMQPCloseResult(
            error: error,
            unfinished: senders + unfinished,
            notSentBefore: max(0, self.unread.notSent.load(ordering: .relaxed)),
            inDoubtBefore: max(0, self.unread.inDoubt.load(ordering: .relaxed)),
            isLate: isLate
        )
    }
}

/// An ended sender whose last messages may still arrive on the loop.
struct EndedLane {
    let key: SlotKey
    /// The error of these messages.
    let error: AMQPError
    let linkName: String
    let address: String?
    /// The closes that list these messages.
    let reports: [CloseReport]
    /// The counts for these messages if no close lists them.
    let unread: UnreadFailure?

    /// Fails a message and lists it. The caller releases its ledger bytes.
    func fail(_ message: PendingMessage, _ options: AMQPSendOptions) {
        if !self.reports.isEmpty, message.stream == 0 {
            let tracker = AMQPTracker(message.outcome.reply)
            let unsent = AMQPUnfinished.Unsent(payload: message.bytes.buffer, options: options, tracker: tracker)
            for report in self.reports { report.add(unsent, to: self) }
        }
        message.fail(self.error, unread: self.unread)
    }
}
