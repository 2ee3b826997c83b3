// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import Synchronization

/// The count of decisions about one receiver's messages that were not written to the socket before the link ended.
///
/// The loop counts decisions before the end. Callers count later decisions, once per message.
final class UnsentSettlements: Sendable {
    /// The decisions that were sent, but that the peer may not have read before the link ended.
    enum InDoubt {
        /// If this side ended the link, the peer's answer to the end proves that the peer has read the decisions.
        case untilAnswer(Int, isAnswerable: Bool)
        /// The sender had to settle the deliveries and did not.
        case forGood(Int)
    }

    /// The settlements of an ended receiver.
    struct Rest {
        var notWritten: Int
        var inDoubt: Int
        var undecided: Int
    }

    fileprivate struct State {
        var count = 0
        /// The number of these decisions in incomplete writes.
        var unwritten = 0
        /// The messages that the application held without a decision at the end, by key, with their sequence.
        var undecided: [SlotKey: UInt64] = [:]
        /// The messages of which no decision reached Proton before the end.
        var notWritten: Set<SlotKey> = []
        /// The messages whose decision was sent, but which the sender had to settle and did not.
        var unconfirmed: Set<SlotKey> = []
        var inDoubt = InDoubt.forGood(0)
        /// The number of messages without a decision that no task had received.
        var untaken = 0
        var cause: AMQPError?
        /// Whether all decisions before the end are counted.
        var isComplete = false
        var isLogged = false
    }

    private let state = Mutex(State())
    private let ended = Atomic(false)
    /// The link, for log lines.
    private let metadata: Logger.Metadata
    private let logger: Logger
    /// The function that receives the number of further lost decisions.
    private let onLoss: (@Sendable (Int) -> Void)?

    init(metadata: Logger.Metadata, logger: Logger, onLoss: (@Sendable (Int) -> Void)? = nil) {
        self.metadata = metadata
        self.logger = logger
        self.onLoss = onLoss
    }

    var count: Int { self.state.withLock { $0.count } }
    /// Whether this side has recorded the end of the link.
    var hasEnded: Bool { self.ended.load(ordering: .relaxed) }

    /// Records the end of the link.
    ///
    /// - Parameters:
    ///   - undecided: The messages that the application holds without a decision, with their sequence.
    ///   - unsent: The number of decisions that have not reached Proton.
    ///   - untold: The messages of which no decision was sent to the peer.
    ///   - unconfirmed: The messages whose decision was sent, and which the peer has not settled.
    ///   - inDoubt: The sent decisions that the peer may not have read.
    ///   - untaken: The number of undecided messages that no task has received.
    func end(
        _ cause: AMQPError,
        undecided: [SlotKey: UInt64],
        unsent: Int,
        untold: [SlotKey],
        unconfirmed: [SlotKey],
        inDoubt: InDoubt,
        untaken: Int
    ) {
        self.ended.store(true, ordering: .relaxed)
        self.state.withLock { state in
            state.cause = cause
            state.notWritten = Set(untold)
            state.unconfirmed = Set(unconfirmed)
            state.undecided = undecided
            state.inDoubt = inDoubt
            state.untaken = untaken
            state.count += unsent
        }
        if unsent > 0 { self.onLoss?(unsent) }
    }

    /// Returns whether the decision about a message was sent before the end, and needs no answer of the peer.
    func wasTold(_ slot: SlotKey) -> Bool {
        self.state.withLock { !$0.notWritten.contains(slot) && !$0.unconfirmed.contains(slot) }
    }

    /// Returns the result of a settlement after its receiver has ended.
    func result(of slot: SlotKey) -> AMQPSettlementResult {
        self.state.withLock { state in
            let cause = state.cause ?? AMQPError(scope: .link, condition: .closed, detail: "the receiver was closed")
            if state.notWritten.contains(slot) { return .notWritten(cause) }
            // The decision may be in an incomplete write.
            let isCertain = state.isComplete && state.unwritten == 0 && !state.unconfirmed.contains(slot)
            return isCertain ? .settled : .inDoubt(cause)
        }
    }

    /// Returns the counts of unfinished settlements.
    ///
    /// - Parameters:
    ///   - isAnswered: Whether the peer has answered the end of the link, session or connection.
    ///   - unwritten: The number of decisions that are still on their way to the socket.
    func rest(isAnswered: Bool, unwritten: Int) -> Rest {
        self.state.withLock { state in
            let lost = state.isComplete ? state.unwritten : unwritten
            let inDoubt =
                switch state.inDoubt {
                case .untilAnswer(_, isAnswerable: true) where isAnswered: 0
                case .untilAnswer(let count, _), .forGood(let count): max(0, count - lost)
                }
            let notWritten = state.count + (state.isComplete ? 0 : unwritten)
            let undecided = max(0, state.undecided.count - state.untaken)
            return Rest(notWritten: notWritten, inDoubt: inDoubt, undecided: undecided)
        }
    }

    /// Counts the remaining decisions before the end, and logs their number if it is not 0.
    func complete(adding count: Int) {
        self.log { state in
            state.count += count
            state.unwritten = count
            state.isComplete = true
        }
    }

    /// Counts decisions after the end, or too late for the loop. Only the first loss is logged.
    func add(_ settlements: some Sequence<Settlement>) {
        self.log { state in
            for settlement in settlements { state.add(settlement) }
        }
    }

    private func log(after body: (inout State) -> Void) {
        let (lost, line) = self.state.withLock { state -> (Int, (count: Int, cause: AMQPError?)?) in
            let before = state.count
            body(&state)
            let lost = state.count - before
            guard state.isComplete, state.count > 0, !state.isLogged else { return (lost, nil) }
            state.isLogged = true
            return (lost, (state.count, state.cause))
        }
        if lost > 0 { self.onLoss?(lost) }
        guard let line else { return }
        self.logger.warning(
            "decisions about messages were not sent: the link ended first, and the messages return to their source",
            metadata: self.metadata.merging(.amqp([.messages: "\(line.count)"], error: line.cause)) { $1 }
        )
    }
}

extension UnsentSettlements.State {
    fileprivate mutating func add(_ settlement: Settlement) {
        if settlement.includesEarlier {
            let earlier = self.undecided.filter { $0.value < settlement.sequence }
            for key in earlier.keys { self.undecided[key] = nil }
            self.count += earlier.count
        }
        if self.undecided.removeValue(forKey: settlement.slot) != nil { self.count += 1 }
    }
}

/// The counts for decisions about messages of ended receivers, used on the event loop only.
struct EndedReceivers {
    private struct Entry {
        /// The count, which the receiver's deliveries hold; `nil` once no delivery is left.
        weak var unsent: UnsentSettlements?
    }

    private static let fewest = 64
    private var entries: [SlotKey: Entry] = [:]
    private var limit = Self.fewest

    subscript(key: SlotKey) -> UnsentSettlements? { self.entries[key]?.unsent }

    mutating func add(_ key: SlotKey, _ unsent: UnsentSettlements) {
        if self.entries.count >= self.limit {
            self.entries = self.entries.filter { $0.value.unsent != nil }
            self.limit = max(Self.fewest, 2 * self.entries.count)
        }
        self.entries[key] = Entry(unsent: unsent)
    }
}
