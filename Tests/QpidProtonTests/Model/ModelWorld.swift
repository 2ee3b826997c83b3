// SPDX-License-Identifier: Apache-2.0

import CProton
import Foundation
import NIOCore
import NIOEmbedded
import Testing

@testable import QpidProton

/// One connection with sessions, senders and receivers, and what is expected of them.
// Sendable for this reason: all that can change is used on the event loop alone, on which the model's tasks run too.
final class ModelWorld: @unchecked Sendable {
    let peer: InMemoryPeer
    let connection: AMQPConnection
    /// The limit of the connection, and what it shares with a stranger.
    let high: Int?
    let budget: AMQPMemoryBudget?
    let stranger: ModelStranger
    let executor = ModelExecutor()
    var random: SeededGenerator
    var sessions: [ModelSession] = []
    var senders: [ModelSender] = []
    var receivers: [ModelReceiver] = []
    /// Links that are being opened, so that there are never too many.
    var opening = 0
    var calls: [ModelCall] = []
    /// The socket was dropped.
    var isLost = false
    /// The largest message that was offered, or part of one.
    var largest = 0
    /// How many messages were offered, and what became of those that were answered.
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

    /// What led to a failure.
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

    /// Nothing holds bytes back between the two sides. The library reads no more when messages are larger than those before
    /// them, by which the windows were told.
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
            // The drain is answered: credit follows without it.
            guard pn_link_is_receiver(link), InMemoryPeer.isOpen(link), pn_link_get_drain(link), !pn_link_draining(link)
            else { return }
            _ = pn_link_drained(link)
            pn_link_set_drain(link, false)
        }
    }

    /// Does something on the loop, and waits for all that follows from it.
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
                throw ModelFailure("calls do not end that were cancelled: \(names)")
            }
            // A call that was cancelled waits in a task of its own for its answer.
            if !isQuiet, self.executor.isEmpty { try await Task.sleep(for: .microseconds(50)) }
        }
    }
}

/// A session, and what it is limited to.
// Sendable for this reason: all that can change is used on the event loop alone.
final class ModelSession: @unchecked Sendable {
    let session: AMQPSession
    let high: Int
    var isClosing = false
    /// The largest message that was offered.
    var largest = 0

    init(_ session: AMQPSession, high: Int) {
        self.session = session
        self.high = high
    }

    var isOpen: Bool { !self.isClosing && self.session.error == nil }
}
