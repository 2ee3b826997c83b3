// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton
import Synchronization

/// Counts the fate of each message, and detects a standstill.
final class Tally: Sendable {
    private struct State {
        var messages = 0
        /// The bytes of accepted messages, or with `--settled` of sent ones.
        var bytes = 0
        var accepted = 0
        var rejected = 0
        var released = 0
        var modified = 0
        var settledWithoutOutcome = 0
        /// Messages that the library dropped or refused for lack of room.
        var dropped = 0
        var refused = 0
        /// Messages without a known outcome, because the link ended first.
        var failed = 0
        var firstFailure: AMQPError?
        var firstRefusal: AMQPError?
        var firstReason: AMQPError?
        /// A counter that every progress increases.
        var steps = 0
        var releaseRun: ReleaseRun
        var waiter: (most: Int, signal: AsyncStream<Void>.Continuation)?

        var settled: Int {
            self.accepted + self.rejected + self.released + self.modified + self.settledWithoutOutcome
        }

        /// The unsettled messages.
        var outstanding: Int { self.messages - self.settled - self.dropped - self.refused - self.failed }

        /// Removes and returns the waiter if its condition holds.
        mutating func takeWaiter() -> AsyncStream<Void>.Continuation? {
            guard let waiter = self.waiter, self.outstanding <= waiter.most || self.firstFailure != nil else {
                return nil
            }
            self.waiter = nil
            return waiter.signal
        }
    }

    private let state: Mutex<State>
    private let isSettled: Bool
    private let stallLimit: Duration?
    private let clock = ContinuousClock()
    /// Yields when the peer has returned several consecutive messages.
    let releases: AsyncStream<Void>
    private let release: AsyncStream<Void>.Continuation

    /// - Parameters:
    ///   - isSettled: Whether the messages are sent settled, without an outcome.
    ///   - stallLimit: How long unsettled messages may wait without progress; `nil` for no limit.
    ///   - releasedLimit: How long the peer may return every message; `nil` for no limit.
    init(isSettled: Bool, stallLimit: Duration?, releasedLimit: Duration?) {
        self.isSettled = isSettled
        self.stallLimit = stallLimit
        self.state = Mutex(State(releaseRun: ReleaseRun(limit: releasedLimit)))
        (self.releases, self.release) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    var messages: Int { self.state.withLock { $0.messages } }
    var dropped: Int { self.state.withLock { $0.dropped } }
    var outstanding: Int { self.state.withLock { $0.outstanding } }
    var releaseRun: ReleaseRun { self.state.withLock { $0.releaseRun } }

    /// Counts a message that the program hands to the library.
    func sent() {
        self.state.withLock { state in
            state.messages += 1
            state.steps += 1
        }
    }

    /// Uncounts an omitted message that was counted as sent.
    func leftOut() {
        self.state.withLock { state in
            state.messages -= 1
            state.steps += 1
        }
    }

    /// Records progress, such as read bytes.
    func moved() {
        self.state.withLock { $0.steps += 1 }
    }

    /// Counts the fate of a message. Called on the event loop, in the order of the peer's dispositions.
    ///
    /// - Parameter bytes: The bytes of the message.
    func ended(_ result: Result<AMQPOutcome, AMQPError>, bytes: Int) {
        let signal = self.state.withLock { state in
            state.steps += 1
            switch result {
            case .success(let outcome):
                self.count(outcome, &state)
                if outcome == (self.isSettled ? .settled : .accepted) { state.bytes += bytes }
            case .failure(let error) where error.condition == .dropped: state.dropped += 1
            case .failure(let error):
                state.failed += 1
                state.firstFailure = state.firstFailure ?? error
            }
            return state.takeWaiter()
        }
        signal?.yield()
    }

    private func count(_ outcome: AMQPOutcome, _ state: inout State) {
        switch outcome {
        case .accepted: state.accepted += 1
        case .rejected(let reason):
            state.rejected += 1
            state.firstReason = state.firstReason ?? reason
        case .released:
            state.released += 1
            return self.cameBack(&state)
        case .modified:
            state.modified += 1
            return self.cameBack(&state)
        case .settled: state.settledWithoutOutcome += 1
        }
        state.releaseRun.reset()
    }

    private func cameBack(_ state: inout State) {
        state.releaseRun.cameBack(at: self.clock.now)
        if state.releaseRun.count == ReleaseRun.threshold { self.release.yield() }
    }

    /// Sets the total number of dropped messages.
    func wereDropped(_ count: Int) {
        self.state.withLock { $0.dropped = max($0.dropped, count) }
    }

    /// Counts a message that did not fit.
    func wasRefused(_ reason: AMQPError) {
        self.state.withLock { state in
            state.refused += 1
            state.steps += 1
            state.firstRefusal = state.firstRefusal ?? reason
        }
    }

    // MARK: Waiting

    /// Suspends until at most `most` messages are unsettled.
    ///
    /// - Throws: The first error that left a message without an outcome; `CancellationError`.
    func wait(untilAtMost most: Int) async throws {
        let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let isWaiting = self.state.withLock { state in
            state.waiter = (most, signal)
            return state.takeWaiter() == nil
        }
        // A cancelled task leaves the loop at once.
        if isWaiting { for await _ in signals { break } }
        try Task.checkCancellation()
        try self.checkFailure()
    }

    /// Throws the first error that left a message without an outcome.
    func checkFailure() throws {
        if let failure = self.state.withLock({ $0.firstFailure }) { throw failure }
    }

    /// The part of a link's state that shows progress: granted credit, and written bytes.
    struct Movement: Equatable {
        let deliveryLimit: Int
        let outgoingBytes: Int
    }

    /// Runs `body`, and fails if messages wait without progress until the limit.
    ///
    /// - Parameters:
    ///   - movement: Returns further signs of progress.
    ///   - isPaced: Returns whether the rate limit of this side withholds the messages.
    ///   - guardian: Runs beside `body`, and ends it by throwing.
    func whileMoving(
        _ movement: @escaping @Sendable () -> Movement,
        isPaced: @escaping @Sendable () async -> Bool,
        beside guardian: @escaping @Sendable () async throws -> Void,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await body()
                return true
            }
            group.addTask {
                try await guardian()
                return false
            }
            if let limit = self.stallLimit {
                group.addTask {
                    try await self.watch(limit, movement, isPaced)
                    return false
                }
            }
            defer { group.cancelAll() }
            while let isDone = try await group.next(), !isDone {}
        }
    }

    private func watch(
        _ limit: Duration,
        _ movement: @Sendable () -> Movement,
        _ isPaced: @Sendable () async -> Bool
    ) async throws {
        var last = (steps: -1, movement: movement(), time: self.clock.now)
        while true {
            let (steps, waiting) = self.state.withLock { ($0.steps, $0.outstanding) }
            let moved = movement()
            if steps != last.steps || moved != last.movement { last = (steps, moved, self.clock.now) }
            var rest = limit - (self.clock.now - last.time)
            if rest <= .zero, await isPaced() {
                last.time = self.clock.now
                rest = limit
            }
            if rest <= .zero {
                let verb = waiting == 1 ? "is" : "are"
                throw Failure(
                    "nothing has moved for \(limit.inSeconds) s, and \(Units.messages(waiting)) \(verb) not settled"
                )
            }
            try await self.clock.sleep(for: min(max(rest, .milliseconds(10)), limit / 4))
        }
    }

    // MARK: The end

    /// Throws unless every message was accepted.
    func check() throws {
        let state = self.state.withLock { $0 }
        var counts = [(state.rejected, "rejected"), (state.released, "released"), (state.modified, "modified")]
        if !self.isSettled { counts.append((state.settledWithoutOutcome, Self.withoutOutcome)) }
        let bad = counts.filter { $0.0 > 0 }
        if bad.isEmpty, let reason = state.firstRefusal {
            let causes = reason.blockedBy.map { "\($0)" }.joined(separator: ": ")
            throw Failure("refused \(state.refused) of \(Units.messages(state.messages)) for lack of room: \(causes)")
        }
        guard !bad.isEmpty else { return }
        let reason = state.firstReason.map { " (\($0.condition)\($0.detail.isEmpty ? "" : ": \($0.detail)"))" } ?? ""
        let list = bad.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        let count = Units.count(bad.reduce(0) { $0 + $1.0 })
        throw Failure("not accepted: \(count) of \(Units.messages(state.messages)): \(list)\(reason)")
    }

    private static let withoutOutcome = "settled without an outcome"

    /// Returns one line for the user.
    ///
    /// - Parameter total: The number of messages to send; `nil` if it is unknown.
    func summary(of total: Int?, _ seconds: Duration) -> String {
        let state = self.state.withLock { $0 }
        let done = self.isSettled ? state.settledWithoutOutcome : state.accepted
        var summary = Summary(self.isSettled ? "sent" : "accepted", done, of: max(total ?? 0, state.messages))
        if !self.isSettled { summary.add(state.settledWithoutOutcome, Self.withoutOutcome) }
        summary.add(state.rejected, "rejected")
        summary.add(state.released, "released")
        summary.add(state.modified, "modified")
        summary.add(state.dropped, "dropped")
        summary.add(state.refused, "refused")
        summary.add(state.outstanding + state.failed, "not settled")
        summary.add((total ?? 0) - state.messages, "not read")
        return summary.line(bytes: state.bytes, seconds)
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
