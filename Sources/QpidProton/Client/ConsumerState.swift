// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// Decides the outcome of a consumer's messages: events in, actions out.
///
/// Times are durations since any fixed moment. A message with a key waits in its lane until the earlier ones are
/// finished. A cancelled handler keeps its place until it returns.
struct ConsumerState: Sendable {
    typealias ID = UInt64

    /// The settings that the decisions need.
    struct Limits: Hashable, Sendable {
        /// The most handlers that run.
        var concurrency = 16
        /// The most attempts of a message; `nil` for no limit.
        var attempts: Int? = 3
        /// How many messages may be fetched ahead of the handlers.
        var prefetch = AMQPConsumer.Prefetch.automatic
        /// The most messages that wait for others of their keys.
        var backlog = 256
        /// The delay before the second attempt in place; it doubles with each further one.
        var retryDelay = Duration.milliseconds(100)
    }

    /// A message at its arrival.
    struct Arrival: Hashable, Sendable {
        var id: ID
        /// The key of messages that are handled one after another.
        var lane: Int?
        /// The number of this attempt, from 1.
        var attempt = 1
        /// Whether a failed message is handled again here, because returning it would lose it or its order.
        var staysHere = false
    }

    enum Event: Hashable, Sendable {
        case arrived(Arrival)
        /// The handler has returned.
        case returned(ID)
        /// The handler has thrown.
        case threw(ID)
        /// The handler has exceeded the time limit.
        case overran(ID, attempt: Int)
        /// The application has decided itself.
        case decided(ID, attempt: Int)
        /// The delay of the next attempt has ended.
        case due(ID)
        /// The link of the message is lost, and the peer sends the message again.
        case dropped(ID)
        /// No further handler may begin.
        case stop
        /// Running handlers are to be cancelled.
        case hurry
        /// Running handlers have reached the limit.
        case expire
    }

    enum Decision: Hashable, Sendable { case accept, fail, reject, release, application }

    enum Action: Hashable, Sendable {
        case run(ID, attempt: Int)
        /// Waits for a delay, and then reports ``Event/due(_:)``.
        case delay(ID, Duration)
        /// Cancels the handler or the delay.
        case cancel(ID)
        case settle(ID, Decision)
        /// The message is finished.
        case forget(ID)
        case grant(Int)
        /// After ``Event/stop``: no handler runs, or the limit has passed.
        case idle
    }

    /// The counts of handlers' results.
    struct Counts: Hashable, Sendable {
        var handled = 0
        var retried = 0
        var threw = 0
        var timedOut = 0
    }

    enum Phase: Int, Comparable, Sendable {
        case open, stopping, hurrying, over

        static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    private enum Stage: Hashable {
        /// The message waits for others of its key, or for a place.
        case waiting
        case running(since: Duration)
        case delayed
    }

    private struct Held {
        let arrival: Arrival
        var attempt: Int
        var stage = Stage.waiting
        var isDecided = false
        var isOverrun = false
    }

    let limits: Limits
    private(set) var phase = Phase.open
    private(set) var counts = Counts()
    /// The running handlers, and the messages that wait for their next attempt.
    private(set) var busy = 0
    /// The messages that wait for others of their keys.
    private(set) var blocked = 0
    /// The granted credit that no message has used.
    private(set) var credit = 0
    private var held: [ID: Held] = [:]
    /// The messages of each key: the first is being handled.
    private var lanes: [Int: Deque<ID>] = [:]
    /// Messages that wait only for a place.
    private var ready: Deque<ID> = []
    private var pace: HandlerPace
    private var wasIdle = false

    init(_ limits: Limits = Limits()) {
        self.limits = limits
        self.pace = HandlerPace(limits)
    }

    /// Whether a message can be received now.
    var hasRoom: Bool {
        self.phase == .open && self.busy < self.limits.concurrency && self.ready.isEmpty
            && self.blocked < self.limits.backlog
    }

    /// The messages in the consumer, each with a handler, a lane or a delay.
    var heldCount: Int { self.held.count }

    /// Grants credit for the free handlers, and for the messages fetched ahead of them.
    mutating func open() -> [Action] {
        var actions: [Action] = []
        self.topUp(&actions)
        return actions
    }

    mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        var actions: [Action] = []
        switch event {
        case .arrived(let arrival): self.add(arrival, now, &actions)
        case .returned(let id): self.finish(id, hasFailed: false, now, &actions)
        case .threw(let id): self.finish(id, hasFailed: true, now, &actions)
        case .overran(let id, let attempt): self.overrun(id, attempt, &actions)
        case .decided(let id, let attempt): self.decide(id, attempt, &actions)
        case .due(let id):
            if self.held[id]?.stage == .delayed { self.run(id, now, &actions) }
        case .dropped(let id):
            if self.held[id] != nil { self.end(id, now, &actions) }
        case .stop: self.stop(now, &actions)
        case .hurry: self.hurry(now, &actions)
        case .expire: self.expire(now, &actions)
        }
        self.topUp(&actions)
        self.rest(&actions)
        return actions
    }

    // MARK: Beginning

    private mutating func add(_ arrival: Arrival, _ now: Duration, _ actions: inout [Action]) {
        self.credit = max(0, self.credit - 1)
        guard self.held[arrival.id] == nil else { return }
        guard self.phase == .open else {
            actions += [.settle(arrival.id, .release), .forget(arrival.id)]
            return
        }
        self.held[arrival.id] = Held(arrival: arrival, attempt: arrival.attempt)
        if let lane = arrival.lane {
            self.lanes[lane, default: []].append(arrival.id)
            if self.lanes[lane]?.first != arrival.id {
                self.blocked += 1
                return
            }
        }
        self.begin(arrival.id, now, &actions)
    }

    /// Handles a message that waits for no other, if a place is free.
    private mutating func begin(_ id: ID, _ now: Duration, _ actions: inout [Action]) {
        guard self.busy < self.limits.concurrency else { return self.ready.append(id) }
        self.busy += 1
        self.run(id, now, &actions)
    }

    private mutating func run(_ id: ID, _ now: Duration, _ actions: inout [Action]) {
        guard let attempt = self.held[id]?.attempt else { return }
        self.held[id]?.stage = .running(since: now)
        self.counts.handled += 1
        actions.append(.run(id, attempt: attempt))
    }

    // MARK: Ending

    private mutating func finish(_ id: ID, hasFailed: Bool, _ now: Duration, _ actions: inout [Action]) {
        guard let held = self.held[id], case .running(let start) = held.stage else { return }
        self.pace.note(now - start)
        if hasFailed, !held.isOverrun, self.phase < .hurrying { self.counts.threw += 1 }
        if held.isDecided { return self.end(id, now, &actions) }
        guard hasFailed || held.isOverrun else {
            actions.append(.settle(id, .accept))
            return self.end(id, now, &actions)
        }
        // A handler that was cancelled at the limit has not failed.
        if self.phase >= .hurrying, !held.isOverrun {
            actions.append(.settle(id, .release))
        } else if self.isLast(held) {
            actions.append(.settle(id, .reject))
        } else if !held.arrival.staysHere || self.phase != .open {
            actions.append(.settle(id, .fail))
        } else {
            return self.retry(id, held, &actions)
        }
        self.end(id, now, &actions)
    }

    private func isLast(_ held: Held) -> Bool { self.limits.attempts.map { held.attempt >= $0 } ?? false }

    private mutating func retry(_ id: ID, _ held: Held, _ actions: inout [Action]) {
        let doublings = min(20, held.attempt - held.arrival.attempt)
        self.held[id]?.attempt += 1
        self.held[id]?.stage = .delayed
        self.held[id]?.isOverrun = false
        self.counts.retried += 1
        actions.append(.delay(id, min(.seconds(30), self.limits.retryDelay * (1 << doublings))))
    }

    private mutating func overrun(_ id: ID, _ attempt: Int, _ actions: inout [Action]) {
        guard let held = self.held[id], case .running = held.stage, held.attempt == attempt, !held.isOverrun else {
            return
        }
        self.held[id]?.isOverrun = true
        if !held.isDecided {
            self.counts.timedOut += 1
            // A message that is handled again in place waits for its handler, because two handlers must not run for it
            // at once.
            if self.isLast(held) || !held.arrival.staysHere {
                self.held[id]?.isDecided = true
                actions.append(.settle(id, self.isLast(held) ? .reject : .fail))
            }
        }
        actions.append(.cancel(id))
    }

    private mutating func decide(_ id: ID, _ attempt: Int, _ actions: inout [Action]) {
        guard let held = self.held[id], case .running = held.stage, held.attempt == attempt, !held.isDecided else {
            return
        }
        self.held[id]?.isDecided = true
        actions.append(.settle(id, .application))
    }

    /// Frees the place of a message, and admits the next one.
    private mutating func end(_ id: ID, _ now: Duration, _ actions: inout [Action]) {
        guard let held = self.held.removeValue(forKey: id) else { return }
        actions.append(.forget(id))
        if let lane = held.arrival.lane, let index = self.lanes[lane]?.firstIndex(of: id) {
            self.lanes[lane]?.remove(at: index)
            if index > 0 { self.blocked -= 1 }
            let next = self.lanes[lane]?.first
            if next == nil { self.lanes[lane] = nil }
            if index == 0, let next {
                self.blocked -= 1
                self.ready.append(next)
            }
        }
        self.ready.removeAll { $0 == id }
        if held.stage != .waiting { self.busy -= 1 }
        while self.busy < self.limits.concurrency, let next = self.ready.popFirst() { self.begin(next, now, &actions) }
    }

    // MARK: Stopping

    private mutating func stop(_ now: Duration, _ actions: inout [Action]) {
        guard self.phase == .open else { return }
        self.phase = .stopping
        // No message that ends here may start another message.
        let idle = self.held.filter { $0.value.stage == .waiting }.keys.sorted()
        self.lanes = [:]
        self.ready = []
        self.blocked = 0
        for id in idle {
            self.held[id] = nil
            actions += [.settle(id, .release), .forget(id)]
        }
        for id in self.held.filter({ $0.value.stage == .delayed }).keys.sorted() {
            actions += [.cancel(id), .settle(id, .fail)]
            self.end(id, now, &actions)
        }
    }

    private mutating func hurry(_ now: Duration, _ actions: inout [Action]) {
        self.stop(now, &actions)
        guard self.phase < .hurrying else { return }
        self.phase = .hurrying
        actions += self.held.keys.sorted().map { .cancel($0) }
    }

    private mutating func expire(_ now: Duration, _ actions: inout [Action]) {
        self.hurry(now, &actions)
        guard self.phase < .over else { return }
        self.phase = .over
        for id in self.held.keys.sorted() where self.held[id]?.isDecided == false {
            self.held[id]?.isDecided = true
            actions.append(.settle(id, .release))
        }
    }

    private mutating func rest(_ actions: inout [Action]) {
        guard self.phase != .open, !self.wasIdle, self.busy == 0 || self.phase == .over else { return }
        self.wasIdle = true
        actions.append(.idle)
    }

    // MARK: Credit

    /// Grants credit when a quarter of the target is missing, or when no credit is left.
    private mutating func topUp(_ actions: inout [Action]) {
        guard self.phase == .open else { return }
        let target = self.limits.concurrency + self.pace.prefetch
        let missing = target - self.credit - self.busy
        guard missing > 0, missing >= target / 4 || self.credit == 0 else { return }
        self.credit += missing
        actions.append(.grant(missing))
    }
}
