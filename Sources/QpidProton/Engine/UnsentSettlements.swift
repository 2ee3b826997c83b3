internal import Logging
internal import Synchronization

/// Counts the decisions about one receiver's messages that were not written to the socket because the link ended first.
///
/// The loop counts those made before the end. Later ones are counted where they are made, each message once.
final class UnsentSettlements: Sendable {
    fileprivate struct State {
        var count = 0
        /// The messages that the application held without a decision at the end, by key, with their sequence.
        var undecided: [SlotKey: UInt64] = [:]
        var cause: AMQPError?
        /// Everything that was decided before the end is counted.
        var isComplete = false
        var isLogged = false
    }

    private let state = Mutex(State())
    private let link: String
    private let logger: Logger

    init(link: String, logger: Logger) {
        self.link = link
        self.logger = logger
    }

    var count: Int { self.state.withLock { $0.count } }

    /// The link has ended.
    ///
    /// - Parameters:
    ///   - undecided: The messages that the application holds without a decision, with their sequence.
    ///   - unsent: How many decisions had not been handed to Proton.
    func end(_ cause: AMQPError, undecided: [SlotKey: UInt64], unsent: Int) {
        self.state.withLock { state in
            state.cause = cause
            state.undecided = undecided
            state.count += unsent
        }
    }

    /// Counts the rest of what was decided before the end, and logs the number if there is one.
    func complete(adding count: Int) {
        self.log { state in
            state.count += count
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
        let line = self.state.withLock { state -> (count: Int, cause: AMQPError?)? in
            body(&state)
            guard state.isComplete, state.count > 0, !state.isLogged else { return nil }
            state.isLogged = true
            return (state.count, state.cause)
        }
        guard let line else { return }
        self.logger.warning(
            "decisions about messages were not sent: the link ended first, and the messages go back to their source",
            metadata: [
                LogKey.link: "\(self.link)", LogKey.messages: "\(line.count)",
                LogKey.error: "\(line.cause?.description ?? "none")",
            ]
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
