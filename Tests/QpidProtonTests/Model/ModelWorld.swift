// SPDX-License-Identifier: Apache-2.0

import CProton
import Foundation
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import QpidProton

/// One connection with sessions, senders and receivers, and their expected state.
// Sendable because all mutable state is used on the event loop only, where the model's tasks run too.
final class ModelWorld: @unchecked Sendable {
    let peer: InMemoryPeer
    let connection: AMQPConnection
    /// The limit of the connection, and the budget that it shares with a stranger.
    let high: Int?
    let budget: AMQPMemoryBudget?
    let stranger: ModelStranger
    let executor = ModelExecutor()
    var random: SeededGenerator
    var sessions: [ModelSession] = []
    var senders: [ModelSender] = []
    var receivers: [ModelReceiver] = []
    /// The number of links that are being opened, which keeps the total bounded.
    var opening = 0
    var calls: [ModelCall] = []
    /// Whether the socket was dropped.
    var isLost = false
    /// The size of the largest offered message, or part of one.
    var largest = 0
    /// The number of offered messages, and the fates of the answered ones.
    var offered = 0
    var fates: [String: Int] = [:]
    /// The peer's links by their names.
    var peerLinks: [String: OpaquePointer] = [:]
    /// Whether the peer answers drains.
    var answersDrain = true
    private(set) var failure: ModelFailure?
    private var lines: [String] = []
    private var nextID: UInt64 = 1 << 40
    private var advance: TimeAmount?

    init(
        _ peer: InMemoryPeer,
        _ connection: AMQPConnection,
        _ configuration: AMQPConnection.Configuration,
        seed: UInt64
    ) {
        self.peer = peer
        self.connection = connection
        self.high = configuration.sendLimit?.high.bytes
        self.budget = configuration.sendBudget
        self.stranger = ModelStranger(configuration.sendBudget)
        self.random = SeededGenerator(seed: seed)
    }

    /// The latest steps before a failure.
    var trace: String {
        self.lines.suffix(Int(ProcessInfo.processInfo.environment["QPID_PROTON_MODEL_TRACE"] ?? "") ?? 60).joined(
            separator: "\n"
        )
    }

    func note(_ line: @autoclosure () -> String) {
        self.lines.append(line())
        if self.lines.count > 4_000 { self.lines.removeFirst(2_000) }
    }

    /// Keeps the first failure, which ends the run.
    func fail(_ text: String) {
        if self.failure == nil { self.failure = ModelFailure(text) }
    }

    func require(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition { self.fail(text()) }
    }

    func makeID() -> UInt64 {
        self.nextID += 1
        return self.nextID
    }

    /// Begins a call that may wait, and runs it up to its first wait.
    @discardableResult
    func begin(_ name: String, _ body: @escaping @Sendable (ModelCall) async -> Void) -> ModelCall {
        let call = ModelCall(name)
        self.calls.append(call)
        call.start(on: self.executor, body)
        return call
    }

    func advance(by time: TimeAmount) { self.advance = time }

    /// Whether bytes flow freely between the two sides. The library withholds reading when messages are larger than
    /// those for which it advertised its windows.
    var isOpen: Bool {
        self.peer.toPeer.allowance == nil && self.peer.toLibrary.allowance == nil
            && !self.peer.handler.receiving.isReadingWithheld
    }

    // MARK: Running

    func hook() {
        let world = self
        self.peer.toPeer.isRecorded = false
        self.peer.toLibrary.isRecorded = false
        self.peer.cleansFrames = true
        self.peer.script.credit = nil
        self.peer.script.answersDrain = false
        self.peer.script.onMessage = { _, _ in .none }
        self.peer.script.onAttach = { [unowned world] _, link in
            world.peerLinks[String(cString: pn_link_name(link))] = link
            return true
        }
        self.peer.script.onUpdate = { [unowned world] _, delivery in world.peerSaw(delivery) }
        self.peer.script.onFlow = { _, link in
            // The drain is answered at once, because new credit does not wait for it.
            guard pn_link_is_receiver(link), InMemoryPeer.isOpen(link), pn_link_get_drain(link), !pn_link_draining(link)
            else { return }
            _ = pn_link_drained(link)
            pn_link_set_drain(link, false)
        }
    }

    /// Runs `body` on the loop, and waits for all its effects.
    func perform(settling: Bool = true, _ body: @escaping @Sendable (ModelWorld) -> Void) async throws {
        try await self.peer.run { _ in
            self.executor.drain()
            body(self)
            self.executor.drain()
        }
        if let advance = self.advance {
            self.advance = nil
            await self.peer.loop.advanceTime(by: advance)
        }
        guard settling else { return }
        try await self.settle()
        try await self.peer.loop.perform {
            self.check()
            self.peer.events = []
            self.calls.removeAll { $0.isDone }
            if let failure = self.failure { throw failure }
        }
    }

    private func settle() async throws {
        let end = ContinuousClock.now + patience
        while true {
            let isQuiet = try await self.peer.run { _ in
                self.executor.drain()
                self.peerLooks()
                return self.calls.allSatisfy { !$0.isCancelled || $0.isDone }
            }
            let hasMore = try await self.peer.loop.perform { !self.peer.received.isEmpty }
            if isQuiet, self.executor.isEmpty, !hasMore { return }
            guard ContinuousClock.now < end else {
                let names = self.calls.filter { $0.isCancelled && !$0.isDone }.map(\.name)
                throw ModelFailure("cancelled calls do not end: \(names)")
            }
            // A cancelled call waits for its answer in a task of its own.
            if !isQuiet, self.executor.isEmpty { try await Task.sleep(for: .microseconds(50)) }
        }
    }
}

/// A session, and its limit.
// Sendable because all mutable state is used on the event loop only.
final class ModelSession: @unchecked Sendable {
    let session: AMQPSession
    let high: Int
    var isClosing = false
    /// The size of the largest offered message.
    var largest = 0

    init(_ session: AMQPSession, high: Int) {
        self.session = session
        self.high = high
    }

    var isOpen: Bool { !self.isClosing && self.session.error == nil }
}
