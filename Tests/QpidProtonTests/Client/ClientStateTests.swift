// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// The client's state table: the effect of each event in each state.
struct ClientStateTests {
    // MARK: The first connection

    @Test func anIdleClientConnectsWhenItIsUsed() {
        var client = StateDriver()
        #expect(client.phase == "idle" && client.state.wakeUp == nil)
        #expect(client.send(.start) == ["connect 1"])
        #expect(client.phase == "connecting, attempt 1")
        #expect(client.send(.start) == [])
        #expect(client.send(.connected(attempt: 1)) == ["open 1 of attempt 1"])
        #expect(client.phase == "open 1" && client.state.wakeUp == nil)
    }

    @Test func theFirstAttemptIsRepeated() {
        var client = StateDriver()
        _ = client.send(.start)
        #expect(client.send(.failed(attempt: 1, client.lost, isFatal: false)) == [])
        #expect(client.phase == "connecting, waiting")
        #expect(client.wake() == ["connect 2"])
        #expect(client.send(.connected(attempt: 2)) == ["open 1 of attempt 2"])
    }

    @Test func theFirstConnectionHasALimitOfItsOwn() {
        var limits = ClientState.Limits()
        limits.firstConnection = .seconds(5)
        limits.giveUpAfter = .seconds(1)
        var client = StateDriver(limits)
        _ = client.send(.start)
        client.now += .seconds(2)
        #expect(client.send(.tick) == [])
        client.now += .seconds(3)
        #expect(client.send(.tick) == ["cancel 1", "finish local:timeout"])
        #expect(client.phase == "closed local:timeout")
    }

    @Test func aFatalErrorEndsTheFirstConnection() {
        var client = StateDriver()
        _ = client.send(.start)
        let error = AMQPError(scope: .connection, condition: .unauthorizedAccess)
        #expect(client.send(.failed(attempt: 1, error, isFatal: true)) == ["finish amqp:unauthorized-access"])
        #expect(client.phase == "closed amqp:unauthorized-access")
    }

    // MARK: Outages

    @Test func aLossLeadsToOneImmediateAttempt() {
        var client = StateDriver.open()
        client.now += .seconds(60)
        #expect(client.send(.lost(generation: 1, client.lost, isFatal: false)) == ["lose 1", "connect 2"])
        #expect(client.send(.connected(attempt: 2)) == ["open 2 of attempt 2"])
        client.now += .seconds(1)
        #expect(client.send(.lost(generation: 2, client.lost, isFatal: false)) == ["lose 2"])
        #expect(client.phase == "recovering, waiting")
    }

    @Test func anOutageEndsAfterItsLimit() {
        var limits = ClientState.Limits()
        limits.giveUpAfter = .seconds(10)
        var client = StateDriver.open(limits)
        client.now += .seconds(60)
        _ = client.send(.lost(generation: 1, client.lost, isFatal: false))
        _ = client.send(.failed(attempt: 2, client.lost, isFatal: false))
        client.now += .seconds(10)
        #expect(client.send(.tick) == ["finish local:timeout"])
        guard case .closed(let error?) = client.state.phase else { return #expect(Bool(false)) }
        #expect(error.detail == "no connection within 10.0 seconds and 1 attempt: gone", "\(error.detail)")
    }

    @Test func withoutALimitAnOutageHasNoEnd() {
        var client = StateDriver.open()
        _ = client.send(.lost(generation: 1, client.lost, isFatal: false))
        for _ in 0..<2_000 {
            if let attempt = client.state.running {
                _ = client.send(.failed(attempt: attempt, client.lost, isFatal: false))
            }
            let before = client.now
            _ = client.wake()
            #expect(client.now - before <= .seconds(30))
        }
        #expect(client.now > .seconds(3_600) && client.state.running != nil)
    }

    @Test func aFatalLossEndsTheClient() {
        var client = StateDriver.open()
        let error = AMQPError(scope: .connection, condition: .notAllowed)
        #expect(client.send(.lost(generation: 1, error, isFatal: true)) == ["lose 1", "finish amqp:not-allowed"])
    }

    @Test func delaysGrowUntilAConnectionHasBeenOpenForLong() {
        var client = StateDriver.open()
        for generation in 1...12 {
            client.now += .seconds(1)
            _ = client.send(.lost(generation: generation, client.lost, isFatal: false))
            _ = client.wake()
            if let attempt = client.state.running { _ = client.send(.connected(attempt: attempt)) }
        }
        // The bound is high after these losses: one of several delays exceeds the first bound.
        let before = client.now
        for _ in 0..<5 {
            if let attempt = client.state.running {
                _ = client.send(.failed(attempt: attempt, client.lost, isFatal: false))
            } else if case .open(let generation, _) = client.state.phase {
                _ = client.send(.lost(generation: generation, client.lost, isFatal: false))
            }
            _ = client.wake()
        }
        #expect(client.now - before > .seconds(1))
    }

    // MARK: Closing

    @Test func aCloseEndsTheClientInEveryState() {
        var idle = StateDriver()
        #expect(idle.send(.close) == ["finish"])
        var connecting = StateDriver()
        _ = connecting.send(.start)
        #expect(connecting.send(.close) == ["cancel 1", "finish"])
        #expect(connecting.send(.connected(attempt: 1)) == ["discard 1"])
        var waiting = StateDriver()
        _ = waiting.send(.start)
        _ = waiting.send(.failed(attempt: 1, waiting.lost, isFatal: false))
        #expect(waiting.send(.close) == ["finish"] && waiting.send(.tick) == [])
        var open = StateDriver.open()
        #expect(open.send(.close) == ["shut 1"])
        #expect(open.phase == "closing 1" && open.send(.close) == [])
        #expect(open.send(.lost(generation: 1, open.lost, isFatal: false)) == [])
        #expect(open.send(.shut(generation: 1)) == ["finish"])
        #expect(open.phase == "closed" && open.send(.close) == [] && open.send(.start) == [])
        var recovering = StateDriver.open()
        _ = recovering.send(.lost(generation: 1, recovering.lost, isFatal: false))
        let running = recovering.state.running.map { ["cancel \($0)"] } ?? []
        #expect(recovering.send(.close) == running + ["finish"])
    }

    // MARK: Stale events

    @Test func staleEventsChangeNothing() {
        var client = StateDriver.open()
        _ = client.send(.lost(generation: 1, client.lost, isFatal: false))
        client.now += .seconds(40)
        _ = client.wake()
        guard let attempt = client.state.running else { return #expect(Bool(false)) }
        let before = client.phase
        #expect(client.send(.connected(attempt: attempt - 1)) == ["discard \(attempt - 1)"])
        #expect(client.send(.connected(attempt: attempt + 1)) == ["discard \(attempt + 1)"])
        #expect(client.send(.failed(attempt: attempt - 1, client.lost, isFatal: true)) == [])
        #expect(client.send(.lost(generation: 1, client.lost, isFatal: true)) == [])
        #expect(client.send(.shut(generation: 1)) == [])
        #expect(client.phase == before)
    }
}

/// A client's state with a clock that the test moves, and its actions as words.
struct StateDriver {
    var state: ClientState
    var now = Duration.zero
    var random: SeededGenerator
    let lost = AMQPError(scope: .connection, condition: .connectionLost, detail: "gone")

    init(_ limits: ClientState.Limits = .init(), seed: UInt64 = 7) {
        self.state = ClientState(limits)
        self.random = SeededGenerator(seed: seed)
    }

    static func open(_ limits: ClientState.Limits = .init()) -> Self {
        var driver = Self(limits)
        _ = driver.send(.start)
        _ = driver.send(.connected(attempt: 1))
        return driver
    }

    mutating func send(_ event: ClientState.Event) -> [String] {
        self.state.handle(event, at: self.now, using: &self.random).map(\.words)
    }

    /// Advances the clock to the time of the next tick, and ticks.
    mutating func wake() -> [String] {
        guard let wakeUp = self.state.wakeUp else { return [] }
        self.now = max(self.now, wakeUp)
        return self.send(.tick)
    }

    var phase: String { self.state.phase.words }
}

extension ClientState.Action {
    var words: String {
        switch self {
        case .connect(let attempt): "connect \(attempt)"
        case .cancel(let attempt): "cancel \(attempt)"
        case .discard(let attempt): "discard \(attempt)"
        case .open(let generation, let attempt): "open \(generation) of attempt \(attempt)"
        case .lose(let generation, _): "lose \(generation)"
        case .shut(let generation): "shut \(generation)"
        case .finish(let error): error.map { "finish \($0.condition)" } ?? "finish"
        }
    }
}

extension ClientState.Phase {
    var words: String {
        switch self {
        case .idle: "idle"
        case .connecting(_, .attempt(let attempt)): "connecting, attempt \(attempt)"
        case .connecting(_, .wait): "connecting, waiting"
        case .open(let generation, _): "open \(generation)"
        case .recovering(_, _, .attempt(let attempt)): "recovering, attempt \(attempt)"
        case .recovering(_, _, .wait): "recovering, waiting"
        case .closing(let generation): "closing \(generation)"
        case .closed(let error): error.map { "closed \($0.condition)" } ?? "closed"
        }
    }
}
