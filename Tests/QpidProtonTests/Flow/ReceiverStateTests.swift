// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// The state of a receiver, compared with a plain account of its credit and its drains.
@Suite struct ReceiverStateTests {
    @Test func everyStateAcceptsEveryEvent() {
        var random = SeededGenerator(seed: SeededGenerator.seed())
        // Several histories for each phase, in the order in which the walk found the phases.
        var pool: [(phase: Visit.Phase, models: [ReceiverModel])] = []
        var places: [Visit.Phase: Int] = [:]
        func add(_ model: ReceiverModel) {
            let phase = model.phase
            guard let index = places[phase] else {
                places[phase] = pool.count
                return pool.append((phase, [model]))
            }
            if pool[index].models.count < 8 {
                pool[index].models.append(model)
            } else {
                pool[index].models[Int.random(in: 0..<8, using: &random)] = model
            }
        }
        for policy in Self.policies {
            add(ReceiverModel(policy: policy, limit: nil))
            add(ReceiverModel(policy: policy, limit: 4))
        }
        var seen: Set<Visit> = []
        let visits = Visit.all
        for round in 0..<60 where round < 20 || seen.count < visits.count {
            for index in pool.indices {
                for event in ReceiverEvent.allCases {
                    guard var model = pool[index].models.randomElement(using: &random) else { continue }
                    seen.insert(Visit(phase: pool[index].phase, event: event))
                    model.apply(event, &random)
                    if let failure = model.failure {
                        Issue.record("\(failure), after \(model.history)")
                        return
                    }
                    add(model)
                }
            }
        }
        let missing = visits.subtracting(seen)
        #expect(missing.isEmpty, "for instance \(missing.first.debugDescription)")
    }

    private static let policies: [CreditPolicy] = [
        .manual, .messages(4), .bytes(4_096), .automatic(65_536), .onDemand, .unbounded,
    ]

    @Test func aDrainEndsAfterTheArrivingMessage() {
        var state = ReceiverState()
        #expect(state.grant(5, unsettled: 0) == 5)
        #expect(state.arrive() && state.requestDrain() == .request && state.requestDrain() == .none)
        #expect(state.returned(3) == .none && state.returned(1) == .none && state.caughtUp() == .none)
        _ = state.complete(10)
        #expect(state.caughtUp() == .end(4) && state.takeCredit() == 4 && state.window.isPaused)
        #expect(state.endDrain() && !state.window.isPaused)
    }

    @Test func aDrainEndsWithTheLastCredit() {
        var state = ReceiverState()
        #expect(state.grant(1, unsettled: 0) == 1 && state.requestDrain() == .request && state.arrive())
        _ = state.complete(10)
        #expect(state.caughtUp() == .end(0) && state.endDrain())
        #expect(state.requestDrain() == .end(0))
    }

    @Test func aLateAnswerReturnsItsCredit() {
        var state = ReceiverState()
        #expect(state.grant(5, unsettled: 0) == 5 && state.requestDrain() == .request)
        #expect(state.giveUpDrain() == 0 && state.giveUpDrain() == nil && state.endDrain())
        #expect(state.returned(5) == .late(5) && state.window.outstanding == 0)
        #expect(state.returned(0) == .none)
    }

    @Test func creditIsWithheldUntilPauseAndDrainAreOver() {
        var state = ReceiverState()
        state.pause()
        #expect(state.grant(3, unsettled: 0) == 0 && state.withheldCredit == 3)
        #expect(state.requestDrain() == .end(0) && !state.endDrain() && state.grantWithheld(unsettled: 0) == 0)
        #expect(state.resume() && state.grantWithheld(unsettled: 0) == 3 && state.withheldCredit == 0)
    }

    @Test func aReceiverThatStopsStaysPaused() {
        var state = ReceiverState()
        #expect(state.stop() && !state.stop() && !state.resume())
        #expect(state.becomeQuiet() && state.purpose == .stopped && !state.stop() && !state.resume())
        state.pause()
        #expect(state.purpose == .stopped && state.grant(1, unsettled: 0) == 0)
    }

    @Test func aGatheredMessageCountsAsUnsettledAndAStreamedOneDoesNotCountTwice() {
        var state = ReceiverState(unsettledLimit: UnsettledLimit(2))
        #expect(state.grant(3, unsettled: 0) == 2 && state.withheldCredit == 1 && state.arrive() && state.arrive())
        #expect(state.unsettledCredit(0) == 0)
        state.stream(1, bytes: 300)
        #expect(state.unsettledCredit(1) == 0 && state.window.outstanding == 1)
        state.completeStream(1_000)
        #expect(state.arrive() && state.waitsForSettling(unsettled: 1, undecided: 0))
        #expect(!state.waitsForSettling(unsettled: 1, undecided: 1))
    }
}

/// A state, as far as the walk distinguishes states, and its event.
private struct Visit: Hashable {
    enum Message: CaseIterable { case none, gathering, gatheringHeldBack, streaming, streamingHeldBack }
    enum Drain: CaseIterable { case none, requested, answered, ending }

    struct Phase: Hashable {
        let message: Message
        let drain: Drain
        let purpose: ReceivePurpose
    }

    let phase: Phase
    let event: ReceiverEvent

    static var all: Set<Visit> {
        var visits: Set<Visit> = []
        for message in Message.allCases {
            for drain in Drain.allCases {
                for purpose in [ReceivePurpose.receiving, .paused, .stopping, .stopped] {
                    let phase = Phase(message: message, drain: drain, purpose: purpose)
                    for event in ReceiverEvent.allCases { visits.insert(Visit(phase: phase, event: event)) }
                }
            }
        }
        return visits
    }
}

private enum ReceiverEvent: CaseIterable {
    case arrive, holdBack, catchUp, complete, stream, completeStream, abort, drop, endStream
    case requestDrain, answer, caughtUp, giveUp, endDrain
    case pause, resume, stop, becomeQuiet
    case grant, grantWithheld, topUp, starve, free, hold, tune
}

/// The account that the state must match.
private struct ReceiverModel {
    private var state: ReceiverState
    private let isManual: Bool
    /// The credit that the application granted, and the credit that the state released for advertising.
    private var wanted = 0
    private var advertised = 0
    /// The credit that messages used, and the credit that was returned.
    private var used = 0
    private var cameBack = 0
    /// The credit that the peer returned for the current drain; `nil` while there is none.
    private var returned: Int?
    /// The requested drains and the ended ones.
    private var drains = (begun: 0, over: 0)
    private(set) var history: [ReceiverEvent] = []
    private(set) var failure: String?

    init(policy: CreditPolicy, limit: Int?) {
        self.state = ReceiverState(CreditWindow(policy), unsettledLimit: limit.map { UnsettledLimit($0) } ?? .none)
        self.isManual = policy == .manual
    }

    var phase: Visit.Phase {
        let message: Visit.Message =
            switch self.state.message {
            case .none: .none
            case .gathering(let reading): reading == .heldBack ? .gatheringHeldBack : .gathering
            case .streaming(_, let reading): reading == .heldBack ? .streamingHeldBack : .streaming
            }
        let drain: Visit.Drain =
            switch self.state.drain {
            case .none: .none
            case .requested: .requested
            case .answered: .answered
            case .ending: .ending
            }
        return Visit.Phase(message: message, drain: drain, purpose: self.state.purpose)
    }

    private mutating func require(_ holds: Bool, _ text: @autoclosure () -> String) {
        if !holds, self.failure == nil { self.failure = text() }
    }

    mutating func apply(_ event: ReceiverEvent, _ random: inout SeededGenerator) {
        self.history.append(event)
        let number = Int.random(in: 0...3, using: &random)
        let purpose = self.state.purpose
        let wasPaused = self.state.window.isPaused
        let before = self.advertised
        switch event {
        case .arrive, .holdBack, .catchUp, .complete, .stream, .completeStream, .abort, .drop, .endStream:
            self.message(event, number)
        case .requestDrain, .answer, .caughtUp, .giveUp, .endDrain: self.drain(event, number)
        case .pause: self.state.pause()
        case .resume:
            let isOpen = self.state.resume()
            self.require(isOpen != self.state.window.isPaused, "resuming is wrong about the pause")
        case .stop: self.require(self.state.stop() != purpose.isStopping, "a stop began twice, or never")
        case .becomeQuiet: self.require(self.state.becomeQuiet() == purpose.isStopping, "quiet, and not stopping")
        case .grant, .grantWithheld, .topUp, .starve, .free, .hold, .tune: self.credit(event, number)
        }
        self.require(!wasPaused || self.advertised == before, "credit was advertised in a pause or a drain")
        self.require(!purpose.isStopping || self.state.purpose.isStopping, "a stopping receiver continued")
        self.check()
    }

    private mutating func message(_ event: ReceiverEvent, _ number: Int) {
        let message = self.state.message
        switch event {
        case .arrive:
            let (isNew, credit) = (!message.hasBegun, self.state.window.outstanding)
            let isAllowed = self.state.arrive()
            self.require(isAllowed == (!isNew || credit > 0), "the credit of \(credit) did not decide about a message")
            if isNew, isAllowed { self.used += 1 }
            self.require(!isAllowed || self.state.message.hasBegun, "the message has not begun")
        case .holdBack, .catchUp:
            let isChanged = self.state.read(event == .holdBack ? .heldBack : .upToDate)
            self.require(isChanged == (self.state.message != message), "a change of the reading is reported wrongly")
            self.require(self.state.message.hasBegun == message.hasBegun, "a reading began or ended the message")
        case .complete: _ = self.state.complete(number * 100)
        case .stream:
            guard case .gathering = message else { return }
            self.state.stream(7, bytes: 300)
            self.require(self.state.message.isHeldBack == message.isHeldBack, "the reading is lost")
        case .completeStream: self.state.completeStream(number * 1_000)
        case .abort: self.state.abort()
        case .drop: self.state.drop()
        default:
            self.state.endStream()
            self.require(self.state.message.hasBegun == message.hasBegun, "the end of streams ended the message")
        }
    }

    private mutating func drain(_ event: ReceiverEvent, _ number: Int) {
        let wasUnderWay = self.state.drain.isUnderWay
        switch event {
        case .requestDrain:
            let step = self.state.requestDrain()
            if wasUnderWay { return self.require(step == .none, "a drain began in a drain") }
            self.drains.begun += 1
            self.returned = 0
            self.require(step != .request || self.state.window.outstanding > 0, "a drain without credit was sent")
            self.take(step)
        case .answer:
            let back = min(number, self.state.window.outstanding)
            if wasUnderWay { self.returned = (self.returned ?? 0) + number } else { self.cameBack += back }
            let step = self.state.returned(number)
            self.require(
                wasUnderWay || step == (number > 0 ? .late(number) : .none),
                "returned credit was not reported"
            )
            self.take(step)
            self.require(!wasUnderWay || step != .none || self.state.message.hasBegun, "an answered drain did not end")
        case .caughtUp:
            let step = self.state.caughtUp()
            self.take(step)
            let isOver = !self.state.message.hasBegun && self.state.window.outstanding == 0
            self.require(!wasUnderWay || !isOver || step != .none, "a drain without credit did not end")
        case .giveUp:
            let outstanding = self.state.window.outstanding
            let credit = self.state.giveUpDrain()
            self.require((credit != nil) == wasUnderWay, "a drain was abandoned that had not begun")
            guard let credit else { return }
            let returned = self.returned ?? -1
            self.require(credit == returned, "credit \(credit) was returned, not \(returned)")
            self.cameBack += min(credit, outstanding)
            self.returned = nil
            self.drains.over += 1
        default:
            let isOpen = self.state.endDrain()
            self.require(isOpen != self.state.window.isPaused, "the end of a drain is wrong about the pause")
            self.require(self.state.drain != .ending, "the drain has not ended")
        }
    }

    private mutating func take(_ step: DrainStep) {
        guard case .end(let credit) = step else { return }
        let returned = self.returned ?? -1
        self.require(credit == returned, "the drain returned \(credit), not \(returned)")
        self.returned = nil
        self.drains.over += 1
        self.cameBack += self.state.takeCredit()
    }

    private mutating func credit(_ event: ReceiverEvent, _ number: Int) {
        switch event {
        case .grant where self.isManual:
            self.wanted += number
            self.advertised += self.state.grant(number, unsettled: number)
        case .grantWithheld where self.isManual: self.advertised += self.state.grantWithheld(unsettled: number)
        case .topUp where !self.isManual:
            let credit = self.state.topUp(limit: self.state.unsettledCredit(number))
            self.wanted += credit
            self.advertised += credit
        case .starve: self.state.starve()
        case .free: self.state.free(number, bytes: number * 300)
        case .hold: self.state.hold(number * 10)
        case .tune: self.state.tune(at: Int64(self.history.count) * 1_000_000)
        default: break
        }
    }

    private mutating func check() {
        let window = self.state.window
        let isClosed = self.state.drain != .none || self.state.purpose != .receiving
        self.require(window.isPaused == isClosed, "the window's pause is not that of the state")
        self.require(window.outstanding >= 0, "the credit is negative")
        self.require(window.held >= 0 && window.heldBytes >= 0, "the window holds less than nothing")
        let expected = self.advertised - self.used - self.cameBack
        self.require(window.outstanding == expected, "\(window.outstanding) credits are out, not \(expected)")
        self.require(self.wanted == self.advertised + self.state.withheldCredit, "granted credit was lost")
        let open = self.state.drain.isUnderWay ? 1 : 0
        self.require(self.drains.begun == self.drains.over + open, "a drain has no answer, or two")
        self.require(
            (self.returned != nil) == self.state.drain.isUnderWay,
            "the drain is not the requested one"
        )
        if self.state.waitsForSettling(unsettled: 4, undecided: 0) {
            self.require(window.outstanding == 0 && !window.isPaused, "it waits for the sender, and need not")
        }
    }
}
