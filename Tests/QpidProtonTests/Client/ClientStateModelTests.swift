// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import QpidProton

/// Random events in every state of a client, checked against invariants after each step.
@Suite(.deadline)
struct ClientStateModelTests {
    @Test(arguments: StateModelCase.all)
    func theInvariantsHold(run: StateModelCase) {
        var model = StateModel(seed: run.seed)
        for step in 0..<run.steps {
            model.step()
            if let failure = model.failure {
                Issue.record("\(run), step \(step): \(failure)\n\(model.trace.suffix(30).joined(separator: "\n"))")
                return
            }
        }
        #expect(model.pairs.count >= 45 || run.steps < 10_000, "few pairs of state and event: \(model.pairs.count)")
    }
}

/// One run: its seed and number of steps reproduce it.
struct StateModelCase: Sendable, CustomStringConvertible {
    let seed: UInt64
    let steps: Int

    var description: String { "QPID_PROTON_CLIENT_SEED=\(self.seed) QPID_PROTON_CLIENT_STEPS=\(self.steps)" }

    /// Three seeds of 100,000 steps each, or the single seed that the environment names.
    static let all: [StateModelCase] = {
        let environment = ProcessInfo.processInfo.environment
        let steps = environment["QPID_PROTON_CLIENT_STEPS"].flatMap { Int($0) } ?? 100_000
        if let seed = environment["QPID_PROTON_CLIENT_SEED"].flatMap({ UInt64($0) }) {
            return [StateModelCase(seed: seed, steps: steps)]
        }
        return (1...3).map { StateModelCase(seed: $0, steps: steps) }
    }()
}

/// The environment of a client's state: sockets that open and end at any time, and events that arrive late.
private struct StateModel {
    private var driver: StateDriver
    private var random: SeededGenerator
    private var limits = ClientState.Limits()
    /// The attempt that is under way, and how many attempts there were.
    private var running: Int?
    private var attempts = 0
    private var generations = 0
    private var used: Int?
    private var isFinished = false
    private var isShutting = false
    private var lastAtOnce: Duration?
    private var lastAttempt: Duration?
    private let failures = FirstFailure()
    private(set) var trace: [String] = []
    /// The pairs of a state and an event that occurred.
    private(set) var pairs: Set<String> = []

    init(seed: UInt64) {
        self.random = SeededGenerator(seed: seed)
        self.driver = StateDriver(seed: seed)
        self.reset()
    }

    private mutating func reset() {
        self.limits = ClientState.Limits()
        if self.random.chance(30) { self.limits.firstConnection = .seconds(self.random.number(1...90)) }
        if self.random.chance(30) { self.limits.giveUpAfter = .seconds(self.random.number(1...90)) }
        self.driver = StateDriver(self.limits, seed: self.random.next())
        self.running = nil
        self.attempts = 0
        self.generations = 0
        self.used = nil
        self.isFinished = false
        self.isShutting = false
        self.lastAtOnce = nil
        self.lastAttempt = nil
        self.trace = []
    }

    mutating func step() {
        if self.isFinished, self.random.chance(20) { return self.reset() }
        if self.random.chance(60) { self.driver.now += self.pause }
        self.send(self.event)
    }

    private var pause: Duration {
        mutating get {
            switch self.random.number(0...3) {
            case 0: .milliseconds(self.random.number(0...50))
            case 1: .milliseconds(self.random.number(0...2_000))
            case 2: .seconds(self.random.number(0...40))
            default: self.driver.state.wakeUp.map { max(.zero, $0 - self.driver.now) } ?? .zero
            }
        }
    }

    /// A random event. Most fit the state, some are stale, and some name an unknown attempt.
    private var event: ClientState.Event {
        mutating get {
            let error = AMQPError(
                scope: .connection,
                condition: self.random.chance(50) ? .connectionLost : .connectionForced,
                detail: "\(self.random.number(0...9))"
            )
            let attempt = max(0, self.attempts - (self.random.chance(25) ? self.random.number(0...3) : 0))
            let generation = max(0, self.generations - (self.random.chance(25) ? self.random.number(0...2) : 0))
            switch self.random.number(0...99) {
            case 0..<10: return .start
            case 10..<32: return .connected(attempt: attempt)
            case 32..<50: return .failed(attempt: attempt, error, isFatal: self.random.chance(3))
            case 50..<68: return .lost(generation: generation, error, isFatal: self.random.chance(3))
            case 68..<96: return .tick
            case 96..<97: return .close
            default: return .shut(generation: generation)
            }
        }
    }

    var failure: String? { self.failures.text }

    private func require(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition, self.failures.text == nil { self.failures.text = text() }
    }

    private mutating func send(_ event: ClientState.Event) {
        let (before, wakeUp, tries) = (self.driver.phase, self.driver.state.wakeUp, self.running)
        let name = "\(event)".prefix { $0 != "(" }
        self.pairs.insert("\(before.prefix { $0 != " " && $0 != "," }) \(before.contains("waiting")) \(name)")
        let now = self.driver.now
        let actions = self.driver.state.handle(event, at: now, using: &self.driver.random)
        self.trace.append("\(now) \(before): \(name) → \(actions.map(\.words)) \(self.driver.phase)")
        // Only an event of the current attempt or connection may have an effect.
        switch event {
        case .connected(let attempt):
            self.require(actions.count == 1, "a connection has one answer")
            if attempt != tries { self.require(actions[0].words == "discard \(attempt)", "a stale connection stays") }
        case .failed(let attempt, _, _): self.require(attempt == tries || actions.isEmpty, "a stale failure acts")
        case .lost(let generation, _, _):
            self.require(generation == self.used || actions.isEmpty, "a stale loss acts")
            if generation == self.used, !self.isShutting {
                self.require(actions.first?.words == "lose \(generation)", "a loss goes unnoticed")
            }
        case .tick: self.require(wakeUp.map { $0 <= now } ?? false || actions.isEmpty, "a tick that is not due acts")
        case .close: self.require(self.isFinished || self.isShutting || !actions.isEmpty, "a close does nothing")
        case .start, .shut: break
        }
        if case .failed(let attempt, _, _) = event, attempt == tries { self.running = nil }
        for action in actions { self.apply(action, at: now) }
        self.check()
    }

    private mutating func apply(_ action: ClientState.Action, at now: Duration) {
        self.require(!self.isFinished || action.words.hasPrefix("discard"), "it acts after its end: \(action.words)")
        switch action {
        case .connect(let attempt):
            self.require(self.running == nil && self.used == nil, "two connections at a time")
            self.require(attempt == self.attempts + 1, "attempt \(attempt) follows \(self.attempts)")
            self.attempts = attempt
            self.running = attempt
            self.lastAttempt = now
        case .cancel(let attempt):
            self.require(self.running == attempt, "another attempt is cancelled")
            self.running = nil
        case .discard(let attempt): self.require(attempt != self.running, "the running attempt is discarded")
        case .open(let generation, let attempt):
            self.require(attempt == self.running, "a stale attempt opens")
            self.require(generation == self.generations + 1, "generation \(generation)")
            self.generations = generation
            self.used = generation
            self.running = nil
        case .lose(let generation, _):
            self.require(generation == self.used, "another generation is lost")
            self.used = nil
        case .shut(let generation):
            self.require(generation == self.used, "another generation is shut")
            self.isShutting = true
        case .finish:
            self.require(self.running == nil && (self.used == nil || self.isShutting), "something is left at the end")
            self.isFinished = true
            self.used = nil
        }
    }

    /// Checks the invariants that hold between events.
    private mutating func check() {
        let state = self.driver.state
        self.require(state.running == self.running, "attempt \(state.running ?? 0) runs, not \(self.running ?? 0)")
        switch state.phase {
        case .idle: self.require(self.attempts == 0 && state.wakeUp == nil, "idle")
        case .connecting(let since, .wait(let until)), .recovering(let since, _, .wait(let until)):
            self.require(until <= self.driver.now + .seconds(30), "a delay of more than 30 s")
            self.require(state.wakeUp.map { $0 <= until } ?? false && since <= self.driver.now, "nothing wakes it")
        case .connecting(_, .attempt):
            self.require((state.wakeUp != nil) == (self.limits.firstConnection != nil), "limit")
        case .recovering(_, _, .attempt):
            self.require((state.wakeUp != nil) == (self.limits.giveUpAfter != nil), "limit")
        case .open(let generation, _):
            self.require(generation == self.used && state.wakeUp == nil, "open")
        case .closing(let generation): self.require(generation == self.used && self.isShutting, "closing")
        case .closed: self.require(self.isFinished && state.wakeUp == nil, "closed")
        }
    }
}

/// The first violated invariant.
final class FirstFailure {
    var text: String?
}
