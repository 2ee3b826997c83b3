// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// Each table covers every state with every event. An event that it does not list changes nothing.
struct LinkPhaseTests {
    typealias End = LinkPhase.End

    private static let phases: [LinkPhase] = [
        .open, .ended(.here), .ended(.detaching), .ended(.byPeer), .ended(.withAll), .done,
    ]

    private static func expected(_ phase: LinkPhase, _ event: LinkPhase.Event) -> LinkPhase {
        switch (event, phase) {
        case (.close, .open): .ended(.here)
        case (.detach, .ended(.here)): .ended(.detaching)
        case (.peerDetach, .open), (.peerDetach, .ended(.here)), (.peerDetach, .ended(.detaching)): .ended(.byPeer)
        case (.abandon, .open), (.abandon, .ended(.here)), (.abandon, .ended(.detaching)), (.abandon, .ended(.byPeer)):
            .ended(.withAll)
        case (.free, _): .done
        default: phase
        }
    }

    @Test(arguments: Self.phases, LinkPhase.Event.allCases)
    func eachEventInEachPhase(phase: LinkPhase, event: LinkPhase.Event) {
        var changed = phase
        changed.take(event)
        #expect(changed == Self.expected(phase, event))
        // An ended link does not open again, and a freed link stays freed.
        #expect(!changed.isOpen || phase.isOpen)
        #expect(changed.isDone || !phase.isDone)
        #expect([changed.isOpen, changed.isDone].filter { $0 }.count <= 1)
        #expect([changed.isDetaching, changed.isEndedByPeer, changed.isAbandoned].filter { $0 }.count <= 1)
    }

    @Test func everyPhaseIsReached() {
        #expect(reached(from: LinkPhase.open, LinkPhase.Event.allCases) { $0.take($1) } == Self.phases.count)
    }
}

struct SessionStateTests {
    private static let states: [SessionState] = [
        .open(isBlocked: true), .open(isBlocked: false), .endsWhenBegun, .ended, .done,
    ]

    private static func expected(_ state: SessionState, _ event: SessionState.Event) -> SessionState {
        switch (event, state) {
        case (.block, .open): .open(isBlocked: true)
        case (.unblock, .open): .open(isBlocked: false)
        case (.end, .open): .ended
        case (.endUnbegun, .open): .endsWhenBegun
        case (.peerBegin, .endsWhenBegun): .ended
        case (.free, _): .done
        default: state
        }
    }

    @Test(arguments: Self.states, SessionState.Event.allCases)
    func eachEventInEachState(state: SessionState, event: SessionState.Event) {
        var changed = state
        let hasChanged = changed.take(event)
        #expect(changed == Self.expected(state, event))
        #expect(hasChanged == (changed != state))
        // An ended session sends nothing and does not open again.
        #expect(changed.isOpen || changed.isBlocked)
        #expect(!changed.isOpen || state.isOpen)
        #expect(changed.isDone || !state.isDone)
    }

    @Test func everyStateIsReached() {
        let count = reached(from: SessionState.open(isBlocked: true), SessionState.Event.allCases) { $0.take($1) }
        #expect(count == Self.states.count)
    }
}

struct SenderStateTests {
    private static let states: [SenderState] = [
        .unopened, .open(.sending), .open(.aborting), .flushing(.sending), .flushing(.aborting), .ended,
    ]

    private static func expected(_ state: SenderState, _ event: SenderState.Event) -> SenderState {
        switch (event, state) {
        case (.open, .unopened): .open(.sending)
        case (.flush, .open(let current)): .flushing(current)
        case (.giveUp, .open): .open(.aborting)
        case (.giveUp, .flushing): .flushing(.aborting)
        case (.abort, .open): .open(.sending)
        case (.abort, .flushing): .flushing(.sending)
        case (.end, _): .ended
        default: state
        }
    }

    @Test(arguments: Self.states, SenderState.Event.allCases)
    func eachEventInEachState(state: SenderState, event: SenderState.Event) {
        var changed = state
        let hasChanged = changed.take(event)
        #expect(changed == Self.expected(state, event))
        #expect(hasChanged == (changed != state))
        #expect(changed == .ended || state != .ended)
        // An abort that was passed to Proton, or the end, is the end of the message.
        if event == .abort || event == .end { #expect(!changed.isAborting) }
    }

    @Test func everyStateIsReached() {
        #expect(reached(from: SenderState.unopened, SenderState.Event.allCases) { $0.take($1) } == Self.states.count)
    }
}

/// Counts the states that some order of events reaches.
private func reached<State: Equatable, Event>(
    from start: State,
    _ events: [Event],
    _ take: (inout State, Event) -> Void
) -> Int {
    var seen = [start]
    var index = 0
    while index < seen.count {
        for event in events {
            var state = seen[index]
            take(&state, event)
            if !seen.contains(state) { seen.append(state) }
        }
        index += 1
    }
    return seen.count
}
