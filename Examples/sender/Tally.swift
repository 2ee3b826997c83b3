import ExampleSupport
import QpidProton
import Synchronization

/// Counts what became of the messages, and notices when nothing moves any more.
final class Tally: Sendable {
    private struct State {
        var messages = 0
        var bytes = 0
        var accepted = 0
        var rejected = 0
        var released = 0
        var modified = 0
        var settledWithoutOutcome = 0
        /// Taken and dropped again, and not taken: for lack of room.
        var dropped = 0
        var refused = 0
        var firstRefusal: AMQPError?
        var firstReason: AMQPError?
        /// Counts every step forward.
        var steps = 0

        var settled: Int {
            self.accepted + self.rejected + self.released + self.modified + self.settledWithoutOutcome
        }
    }

    private let state = Mutex(State())
    private let stallLimit: Duration?

    /// - Parameter stallLimit: How long messages may wait while nothing moves; nil for ever.
    init(stallLimit: Duration?) {
        self.stallLimit = stallLimit
    }

    var messages: Int { self.state.withLock { $0.messages } }
    var settled: Int { self.state.withLock { $0.settled } }
    var dropped: Int { self.state.withLock { $0.dropped } }

    func sent(_ messages: Int, _ bytes: Int) {
        self.state.withLock { state in
            state.messages += messages
            state.bytes += bytes
            state.steps += messages
        }
    }

    /// So many bytes of a message that is being sent have been read.
    func read(_ bytes: Int) {
        self.state.withLock { state in
            state.bytes += bytes
            state.steps += 1
        }
    }

    func settled(_ outcome: AMQPOutcome) {
        self.state.withLock { state in
            state.steps += 1
            switch outcome {
            case .accepted: state.accepted += 1
            case .rejected(let reason):
                state.rejected += 1
                state.firstReason = state.firstReason ?? reason
            case .released: state.released += 1
            case .modified: state.modified += 1
            case .settled: state.settledWithoutOutcome += 1
            }
        }
    }

    /// A message was dropped, for there was no room for it or for a newer one.
    func wasDropped() {
        self.state.withLock { state in
            state.dropped += 1
            state.steps += 1
        }
    }

    /// So many messages were dropped in all, also those whose transfers nobody has looked at.
    func wereDropped(_ count: Int) {
        self.state.withLock { $0.dropped = max($0.dropped, count) }
    }

    /// There was no room for a message.
    func wasRefused(_ reason: AMQPError) {
        self.state.withLock { state in
            state.refused += 1
            state.steps += 1
            state.firstRefusal = state.firstRefusal ?? reason
        }
    }

    /// Runs `body`, and fails when messages wait and nothing has moved for the limit.
    ///
    /// - Parameter isPaced: Tells whether the rate limit of this side is what holds the messages.
    func whileMoving(
        isPaced: @escaping @Sendable () async -> Bool,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        guard let limit = self.stallLimit else { return try await body() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await body() }
            group.addTask { try await self.watch(limit, isPaced) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func watch(_ limit: Duration, _ isPaced: @Sendable () async -> Bool) async throws {
        let clock = ContinuousClock()
        var last = (steps: -1, time: clock.now)
        while true {
            let (steps, waiting) = self.state.withLock {
                ($0.steps, $0.messages - $0.settled - $0.dropped - $0.refused)
            }
            if steps != last.steps { last = (steps, clock.now) }
            var rest = limit - (clock.now - last.time)
            if rest <= .zero, await isPaced() {
                last.time = clock.now
                rest = limit
            }
            if rest <= .zero {
                throw Failure("nothing has moved for \(limit.inSeconds) s, and \(waiting) messages are not settled")
            }
            try await clock.sleep(for: min(max(rest, .milliseconds(10)), limit / 4))
        }
    }

    /// Throws when not every message was accepted.
    func check() throws {
        let state = self.state.withLock { $0 }
        let counts = [(state.rejected, "rejected"), (state.released, "released"), (state.modified, "modified")]
        let bad = counts.filter { $0.0 > 0 }
        if bad.isEmpty, let reason = state.firstRefusal {
            let causes = reason.blockedBy.map { "\($0)" }.joined(separator: ": ")
            throw Failure("refused \(state.refused) of \(state.messages) messages for lack of room: \(causes)")
        }
        guard !bad.isEmpty else { return }
        let reason = state.firstReason.map { " (\($0.condition)\($0.detail.isEmpty ? "" : ": \($0.detail)"))" } ?? ""
        let list = bad.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        throw Failure(
            "\(bad.reduce(0) { $0 + $1.0 }) of \(state.messages) messages were not accepted: \(list)\(reason)"
        )
    }

    func report(_ seconds: Duration) -> Report {
        let state = self.state.withLock { $0 }
        var report = Report()
        report.add("messages", state.messages)
        report.add("bytes", state.bytes)
        report.add("seconds", seconds: seconds)
        report.add("accepted", state.accepted)
        report.add("rejected", state.rejected)
        report.add("released", state.released)
        report.add("modified", state.modified)
        report.add("settled", state.settledWithoutOutcome)
        report.add("dropped", state.dropped)
        report.add("refused", state.refused)
        return report
    }
}
