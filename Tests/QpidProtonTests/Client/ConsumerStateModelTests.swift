// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// Random events in every state of a consumer, checked against invariants after each step.
@Suite(.deadline)
struct ConsumerStateModelTests {
    @Test(arguments: StateModelCase.all)
    func theInvariantsHold(run: StateModelCase) {
        var model = ConsumerModel(seed: run.seed)
        for step in 0..<run.steps {
            model.step()
            if let failure = model.failure {
                Issue.record("\(run), step \(step): \(failure)\n\(model.trace.suffix(30).joined(separator: "\n"))")
                return
            }
        }
        #expect(run.steps < 10_000 || model.seen == ConsumerModel.everything, "\(model.seen)")
    }
}

/// The environment of a consumer's state: handlers that return, throw, hang and decide, lost links, and stops.
private struct ConsumerModel {
    typealias ID = ConsumerState.ID

    private struct Message {
        let arrival: ConsumerState.Arrival
        var attempt: Int
        var isRunning = false
        var isDelayed = false
        var isCancelled = false
        var settled: ConsumerState.Decision?
        var isBegun: Bool { self.isRunning || self.isDelayed }
    }

    static let everything: Set<String> = [
        "run", "delay", "cancel", "settle accept", "settle fail", "settle reject", "settle release",
        "settle application", "forget", "grant", "idle",
    ]

    private var random: SeededGenerator
    private var limits = ConsumerState.Limits()
    private var state = ConsumerState()
    private var now = Duration.zero
    private var messages: [ID: Message] = [:]
    private var next: ID = 0
    private var credit = 0
    private var phase = 0
    private var isIdle = false
    private let failures = FirstFailure()
    private(set) var trace: [String] = []
    private(set) var seen: Set<String> = []

    init(seed: UInt64) {
        self.random = SeededGenerator(seed: seed)
        self.reset()
    }

    var failure: String? { self.failures.text }

    private func require(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition, self.failures.text == nil { self.failures.text = text() }
    }

    private mutating func reset() {
        self.limits.concurrency = self.random.number(1...(self.random.chance(20) ? 12 : 5))
        self.limits.attempts = self.random.chance(80) ? self.random.number(1...4) : nil
        self.limits.backlog = self.random.number(1...6)
        self.limits.prefetch =
            self.random.chance(50) ? .automatic(limit: 20) : .messages(self.random.number(0...10))
        self.state = ConsumerState(self.limits)
        self.messages = [:]
        self.credit = 0
        self.phase = 0
        self.isIdle = false
        self.trace = []
        self.check(self.state.open())
    }

    mutating func step() {
        if self.phase > 0, self.isIdle, self.messages.isEmpty { return self.reset() }
        self.now += .milliseconds(self.random.number(0...200))
        let event = self.event
        if case .arrived(let arrival) = event {
            self.messages[arrival.id] = Message(arrival: arrival, attempt: arrival.attempt)
            self.credit -= 1
        }
        self.note(event)
        let isCurrent = self.isCurrent(event)
        let actions = self.state.handle(event, at: self.now)
        self.require(isCurrent || actions.isEmpty, "an earlier attempt acts: \(event)")
        self.trace.append("\(self.now) \(event) → \(actions)")
        self.check(actions)
        self.checkState()
    }

    /// Whether an event belongs to the running attempt.
    private func isCurrent(_ event: ConsumerState.Event) -> Bool {
        switch event {
        case .overran(let id, let attempt), .decided(let id, let attempt): self.messages[id]?.attempt == attempt
        default: true
        }
    }

    /// A random event. Most fit the state, some are late, and some name an unknown message.
    private var event: ConsumerState.Event {
        mutating get {
            let id = self.messages.keys.sorted().randomElement(using: &self.random) ?? 0
            let attempt = self.messages[id]?.attempt ?? 1
            switch self.random.number(0...99) {
            case 0..<35: return self.arrival ?? .returned(id)
            case 35..<50: return .returned(id)
            case 50..<65: return .threw(id)
            case 65..<72: return .overran(id, attempt: self.random.chance(80) ? attempt : attempt - 1)
            case 72..<79: return .decided(id, attempt: self.random.chance(80) ? attempt : attempt - 1)
            case 79..<92: return .due(id)
            case 92..<95: return self.messages[id]?.isBegun == false ? .dropped(id) : .due(id)
            case 95: return .stop
            case 96: return self.random.chance(50) ? .hurry : .returned(id)
            case 97: return self.phase > 0 ? .expire : .threw(id)
            default: return .returned(self.next + 1)
            }
        }
    }

    /// The arrival of a message while the state has room. After a stop, a message in flight may still arrive.
    private var arrival: ConsumerState.Event? {
        mutating get {
            guard self.state.hasRoom || self.phase > 0 && self.random.chance(20), self.credit > 0 else { return nil }
            self.next += 1
            let lane = self.random.chance(60) ? self.random.number(1...3) : nil
            return .arrived(
                .init(
                    id: self.next,
                    lane: lane,
                    attempt: self.random.number(1...3),
                    staysHere: lane != nil || self.random.chance(20)
                )
            )
        }
    }

    /// Records the effect of an event on the environment.
    private mutating func note(_ event: ConsumerState.Event) {
        switch event {
        case .returned(let id), .threw(let id): self.messages[id]?.isRunning = false
        case .stop: self.phase = max(self.phase, 1)
        case .hurry: self.phase = max(self.phase, 2)
        case .expire: self.phase = 3
        default: break
        }
    }

    private mutating func check(_ actions: [ConsumerState.Action]) {
        for action in actions {
            let words = "\(action)"
            self.seen.insert(String(words.prefix { $0 != "(" }))
            switch action {
            case .run(let id, let attempt): self.begin(id, attempt)
            case .delay(let id, _):
                self.require(self.phase == 0, "an attempt is planned after a stop")
                self.require(self.messages[id]?.arrival.staysHere == true, "\(id) stays though it may go back")
                self.messages[id]?.isDelayed = true
                self.messages[id]?.attempt += 1
            case .cancel(let id): self.messages[id]?.isCancelled = true
            case .settle(let id, let decision): self.settle(id, decision)
            case .forget(let id):
                self.require(self.messages[id]?.isRunning == false, "\(id) is forgotten while its handler runs")
                self.messages[id] = nil
            case .grant(let credit):
                self.credit += credit
                self.require(self.phase == 0 && credit > 0, "credit after a stop")
                let most = self.limits.concurrency + 20
                self.require(self.credit + self.state.busy <= most, "too much credit: \(self.credit)")
            case .idle:
                self.require(!self.isIdle && self.phase > 0, "idle again, or without a stop")
                self.require(self.phase == 3 || self.running == 0, "idle with handlers")
                self.isIdle = true
            }
        }
    }

    private mutating func begin(_ id: ID, _ attempt: Int) {
        guard let message = self.messages[id] else { return self.require(false, "\(id) is not there") }
        self.require(self.phase == 0, "\(id) begins after a stop")
        self.require(!message.isRunning && message.settled == nil, "\(id) runs already, or is settled")
        self.require(attempt == message.attempt, "attempt \(attempt) of \(id) is \(message.attempt)")
        self.require(
            attempt == message.arrival.attempt || self.limits.attempts.map { attempt <= $0 } ?? true,
            "attempt \(attempt) of \(id)"
        )
        if let lane = message.arrival.lane {
            let others = self.messages.values.filter { $0.arrival.lane == lane && $0.arrival.id < id }
            self.require(others.isEmpty, "\(id) overtakes another of its key")
        }
        self.messages[id]?.isRunning = true
        self.messages[id]?.isDelayed = false
    }

    private mutating func settle(_ id: ID, _ decision: ConsumerState.Decision) {
        self.seen.insert("settle \(decision)")
        guard let message = self.messages[id] else { return self.require(false, "\(id) is not there") }
        self.require(message.settled == nil, "\(id) is settled twice")
        let isLast = self.limits.attempts.map { message.attempt >= $0 } ?? false
        switch decision {
        case .reject: self.require(isLast, "\(id) is rejected too early")
        case .fail: self.require(!isLast || message.isDelayed, "\(id) goes back after its last attempt")
        case .release: self.require(self.phase > 0, "\(id) is released without a stop")
        case .application: self.require(message.isRunning, "a decision about \(id), which does not run")
        case .accept: break
        }
        self.messages[id]?.settled = decision
    }

    private var running: Int { self.messages.values.count(where: \.isRunning) }

    private mutating func checkState() {
        self.seen.remove("settle")
        let begun = self.messages.values.count(where: \.isBegun)
        self.require(begun <= self.limits.concurrency, "\(begun) handlers")
        self.require(begun == self.state.busy, "\(begun) handlers, \(self.state.busy) in the state")
        self.require(self.messages.count == self.state.heldCount, "\(self.messages.count) messages")
        self.require(self.credit == self.state.credit || self.phase > 0, "the credit is \(self.credit)")
        let waiting = self.messages.values.filter { !$0.isBegun }
        self.require(waiting.count == self.state.blocked, "\(waiting.count) wait, \(self.state.blocked) in the state")
        self.require(waiting.count <= self.limits.backlog, "\(waiting.count) wait")
        for message in waiting {
            let isHeldUp = self.messages.values.contains { $0.isBegun && $0.arrival.lane == message.arrival.lane }
            self.require(message.arrival.lane != nil && isHeldUp, "\(message.arrival.id) waits for nothing")
        }
        if self.phase == 0, begun < self.limits.concurrency, waiting.count < self.limits.backlog {
            self.require(self.state.hasRoom, "there is room")
            // A consumer with room also has credit; otherwise the peer would never send.
            self.require(self.credit > 0, "a free handler without credit")
        }
        if self.phase >= 2 {
            self.require(self.messages.values.allSatisfy { !$0.isRunning || $0.isCancelled }, "a handler goes on")
        }
        if self.phase > 0 {
            self.require(waiting.isEmpty && begun == self.running, "something waits after a stop")
            self.require(self.isIdle || begun > 0, "no end of a stop")
        }
    }
}
