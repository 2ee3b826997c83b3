// SPDX-License-Identifier: Apache-2.0

/// Decides a client's actions for its connection: events in, actions out.
///
/// A pure value without a clock: times are durations since any fixed moment. Each attempt and each generation has a
/// number, and an event with an old number changes nothing.
struct ClientState: Sendable {
    /// The settings.
    struct Limits: Hashable, Sendable {
        var backoff = Backoff.Limits()
        /// How long the first connection may take, with all its attempts; `nil` for no limit.
        var firstConnection: Duration?
        /// How long an outage may last; `nil` for no limit.
        var giveUpAfter: Duration?
    }

    /// The current step towards a connection.
    enum Step: Hashable, Sendable {
        /// An attempt is running.
        case attempt(Int)
        /// The next attempt is delayed.
        case wait(until: Duration)
    }

    enum Phase: Sendable {
        case idle
        case connecting(since: Duration, Step)
        case open(generation: Int, since: Duration)
        case recovering(since: Duration, cause: AMQPError, Step)
        /// The connection of this generation is closing in order.
        case closing(generation: Int)
        case closed(AMQPError?)
    }

    enum Event: Sendable {
        /// The application uses the client for the first time.
        case start
        /// An attempt has opened a connection.
        case connected(attempt: Int)
        /// An attempt has failed. A fatal error ends the client.
        case failed(attempt: Int, AMQPError, isFatal: Bool)
        /// The connection of a generation has ended without a close by this side.
        case lost(generation: Int, AMQPError, isFatal: Bool)
        /// The clock reaches ``ClientState/wakeUp``.
        case tick
        /// The application closes the client.
        case close
        /// The connection of a generation has closed in order.
        case shut(generation: Int)
    }

    enum Action: Sendable {
        /// Begin an attempt.
        case connect(attempt: Int)
        /// End an attempt; its result is stale.
        case cancel(attempt: Int)
        /// Close the connection of a stale attempt.
        case discard(attempt: Int)
        /// Use the connection of an attempt.
        case open(generation: Int, attempt: Int)
        /// Release the links of a generation.
        case lose(generation: Int, AMQPError)
        /// Close the connection of a generation in order.
        case shut(generation: Int)
        /// End the client; an error is the cause.
        case finish(AMQPError?)
    }

    let limits: Limits
    private(set) var phase = Phase.idle
    /// The number of the last connection that opened.
    private(set) var generation = 0
    /// The attempts since the client was last open, or since its start.
    private(set) var attempts = 0
    private var lastAttempt = 0
    private var backoff: Backoff
    private var lastError: AMQPError?

    init(_ limits: Limits) {
        self.limits = limits
        self.backoff = Backoff(limits.backoff)
    }

    /// The time at which a tick is due; `nil` for none.
    var wakeUp: Duration? {
        switch self.phase {
        case .connecting(let since, let step): Self.earliest(step, self.limits.firstConnection.map { since + $0 })
        case .recovering(let since, _, let step): Self.earliest(step, self.limits.giveUpAfter.map { since + $0 })
        case .idle, .open, .closing, .closed: nil
        }
    }

    private static func earliest(_ step: Step, _ deadline: Duration?) -> Duration? {
        guard case .wait(let until) = step else { return deadline }
        return deadline.map { min($0, until) } ?? until
    }

    /// Handles an event, and returns the resulting actions in order.
    mutating func handle(
        _ event: Event,
        at now: Duration,
        using random: inout some RandomNumberGenerator
    ) -> [Action] {
        switch event {
        case .start:
            guard case .idle = self.phase else { return [] }
            return self.next(at: now, using: &random) { .connecting(since: now, $0) }
        case .connected(let attempt): return self.connected(attempt, at: now)
        case .failed(let attempt, let error, let isFatal):
            guard self.isRunning(attempt) else { return [] }
            self.lastError = error
            return isFatal ? self.finish(error) : self.next(at: now, using: &random)
        case .lost(let generation, let error, let isFatal):
            guard case .open(generation, let since) = self.phase else { return [] }
            self.backoff.ended(openSince: since, at: now)
            self.lastError = error
            self.attempts = 0
            if isFatal { return [.lose(generation: generation, error)] + self.finish(error) }
            return [.lose(generation: generation, error)]
                + self.next(at: now, using: &random) { .recovering(since: now, cause: error, $0) }
        case .tick: return self.tick(at: now)
        case .close: return self.close()
        case .shut(let generation):
            guard case .closing(generation) = self.phase else { return [] }
            return self.finish(nil)
        }
    }

    // MARK: Steps

    private mutating func connected(_ attempt: Int, at now: Duration) -> [Action] {
        guard self.isRunning(attempt) else { return [.discard(attempt: attempt)] }
        self.generation += 1
        self.phase = .open(generation: self.generation, since: now)
        return [.open(generation: self.generation, attempt: attempt)]
    }

    private mutating func tick(at now: Duration) -> [Action] {
        guard let wakeUp = self.wakeUp, now >= wakeUp else { return [] }
        if let limit = self.limit, now >= limit.end { return self.giveUp(after: limit.length) }
        return self.begin()
    }

    private mutating func close() -> [Action] {
        switch self.phase {
        case .open(let generation, _):
            self.phase = .closing(generation: generation)
            return [.shut(generation: generation)]
        case .idle, .connecting, .recovering: return self.cancelling + self.finish(nil)
        case .closing, .closed: return []
        }
    }

    /// Continues with the next attempt: at once, or after a delay.
    ///
    /// - Parameter phase: The phase to enter with the step; the current one by default.
    private mutating func next(
        at now: Duration,
        using random: inout some RandomNumberGenerator,
        entering phase: ((Step) -> Phase)? = nil
    ) -> [Action] {
        let delay = self.backoff.delay(at: now, using: &random)
        let step = Step.wait(until: now + delay)
        self.phase = phase?(step) ?? self.phase(at: step)
        return delay > .zero ? [] : self.begin()
    }

    private mutating func begin() -> [Action] {
        self.lastAttempt += 1
        self.attempts += 1
        self.phase = self.phase(at: .attempt(self.lastAttempt))
        return [.connect(attempt: self.lastAttempt)]
    }

    private mutating func finish(_ error: AMQPError?) -> [Action] {
        self.phase = .closed(error)
        return [.finish(error)]
    }

    private mutating func giveUp(after length: Duration) -> [Action] {
        var error = self.lastError ?? AMQPError(scope: .connection, condition: .timeout)
        let cause = error.detail.isEmpty ? "the peer has not answered: check host and port" : error.detail
        let attempts = self.attempts.counted("attempt", "attempts")
        error.condition = .timeout
        error.detail = "no connection within \(length) and \(attempts): \(cause)"
        return self.cancelling + self.finish(error)
    }

    // MARK: Parts

    /// The running attempt.
    var running: Int? {
        switch self.phase {
        case .connecting(_, .attempt(let attempt)), .recovering(_, _, .attempt(let attempt)): attempt
        default: nil
        }
    }

    private func isRunning(_ attempt: Int) -> Bool { self.running == attempt }

    /// The actions that end the running attempt.
    private var cancelling: [Action] { self.running.map { [.cancel(attempt: $0)] } ?? [] }

    private var limit: (end: Duration, length: Duration)? {
        switch self.phase {
        case .connecting(let since, _): self.limits.firstConnection.map { (since + $0, $0) }
        case .recovering(let since, _, _): self.limits.giveUpAfter.map { (since + $0, $0) }
        default: nil
        }
    }

    private func phase(at step: Step) -> Phase {
        switch self.phase {
        case .connecting(let since, _): .connecting(since: since, step)
        case .recovering(let since, let cause, _): .recovering(since: since, cause: cause, step)
        case .idle, .open, .closing, .closed: self.phase
        }
    }
}
