internal import Logging
internal import Synchronization

/// Counts the decisions about one receiver's messages that were not written to the socket because the link ended first.
///
/// The loop counts those made before the end. Later ones are counted where they are made, each message once.
final class UnsentSettlements: Sendable {
    /// The decisions that the peer was told and may not have read when the link ended.
    enum InDoubt {
        /// The peer's answer to the end of the link proves that it has read them, if this side ended the link.
        case untilAnswer(Int, isAnswerable: Bool)
        /// The sender had to settle and did not.
        case forGood(Int)
    }

    /// What is left of the settlements of a receiver that has ended.
    struct Rest {
        var notWritten: Int
        var inDoubt: Int
        var undecided: Int
    }

    fileprivate struct State {
        var count = 0
        /// Those of them that were in writes which were not done.
        var unwritten = 0
        /// The messages that the application held without a decision at the end, by key, with their sequence.
        var undecided: [SlotKey: UInt64] = [:]
        /// The messages whose decision was not handed to Proton before the end, and those that were decided for which the sender
        /// had to settle and did not.
        var notWritten: Set<SlotKey> = []
        var unconfirmed: Set<SlotKey> = []
        var inDoubt = InDoubt.forGood(0)
        /// The messages without a decision that no task had taken.
        var untaken = 0
        var cause: AMQPError?
        /// Everything that was decided before the end is counted.
        var isComplete = false
        var isLogged = false
    }

    private let state = Mutex(State())
    private let ended = Atomic(false)
    /// The link, for the log.
    private let metadata: Logger.Metadata
    private let logger: Logger
    /// Gets the number of decisions that are lost beyond those before.
    private let onLoss: (@Sendable (Int) -> Void)?

    init(metadata: Logger.Metadata, logger: Logger, onLoss: (@Sendable (Int) -> Void)? = nil) {
        self.metadata = metadata
        self.logger = logger
        self.onLoss = onLoss
    }

    var count: Int { self.state.withLock { $0.count } }
    /// The link has ended, as far as is known here.
    var hasEnded: Bool { self.ended.load(ordering: .relaxed) }

    /// The link has ended.
    ///
    /// - Parameters:
    ///   - undecided: The messages that the application holds without a decision, with their sequence.
    ///   - unsent: How many decisions had not been handed to Proton.
    ///   - untold: The messages of which the peer was told nothing.
    ///   - unconfirmed: The messages of which the peer was told a decision, and which it has not settled.
    ///   - inDoubt: The decisions that the peer was told and may not have read.
    ///   - untaken: How many of the undecided messages no task has taken.
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

    /// Whether the peer was told the decision about a message before the end, and has nothing to answer.
    func wasTold(_ slot: SlotKey) -> Bool {
        self.state.withLock { !$0.notWritten.contains(slot) && !$0.unconfirmed.contains(slot) }
    }

    /// How the settlement of a message ended whose receiver has ended.
    func result(of slot: SlotKey) -> AMQPSettlementResult {
        self.state.withLock { state in
            let cause = state.cause ?? AMQPError(scope: .link, condition: .closed, detail: "the receiver was closed")
            if state.notWritten.contains(slot) { return .notWritten(cause) }
            // Of the decisions in writes that were not done, it may be one.
            let isCertain = state.isComplete && state.unwritten == 0 && !state.unconfirmed.contains(slot)
            return isCertain ? .settled : .inDoubt(cause)
        }
    }

    /// What is left.
    ///
    /// - Parameters:
    ///   - isAnswered: Whether the peer has answered the end of the link, or of what it was on.
    ///   - unwritten: The decisions that are on their way to the socket still.
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

    /// Counts the rest of what was decided before the end, and logs the number if there is one.
    func complete(adding count: Int) {
        self.log { state in
            state.count += count
            state.unwritten = count
            state.isComplete = true
        }
    }

    /// Counts decisions that were made after the end, or too late for the loop to see before it. The first is logged.
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
            "decisions about messages were not sent: the link ended first, and the messages go back to their source",
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

/// What decisions about the messages of receivers that have ended are counted with. It is used on the event loop alone.
struct EndedReceivers {
    private struct Entry {
        /// Held by the receiver's deliveries: when they are gone, no one decides any more.
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
