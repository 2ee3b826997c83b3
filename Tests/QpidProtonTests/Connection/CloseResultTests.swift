// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// The result of a close: the fate of each message and decision, and the error of a close that was not orderly.
@Suite(.deadline)
struct CloseResultTests {
    private static let undecided = { @Sendable () -> PeerScript in
        var script = PeerScript.settlingNothing
        script.credit = nil
        return script
    }

    private func take(_ receiver: AMQPReceiver, _ count: Int) async throws -> [AMQPDelivery] {
        var deliveries: [AMQPDelivery] = []
        while deliveries.count < count { deliveries.append(try #require(try await receiver.next())) }
        return deliveries
    }

    enum Level: CaseIterable {
        case link, session, connection

        func close(_ sender: AMQPSender) async -> AMQPCloseResult {
            switch self {
            case .link: await sender.close()
            case .session: await sender.session.close()
            case .connection: await sender.session.connection.close()
            }
        }

        func close(_ receiver: AMQPReceiver) async -> AMQPCloseResult {
            switch self {
            case .link: await receiver.close()
            case .session: await receiver.session.close()
            case .connection: await receiver.session.connection.close()
            }
        }
    }

    @Test(arguments: Level.allCases) func aCloseAtOnceListsMessages(level: Level) async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            let trackers = try (1...5).map { try sender.trySend(encoded: payload($0)) }
            try await peer.run { pn_link_flow($0.links[0], 2) }
            let result = await level.close(sender)
            #expect(result.error == nil && !result.isComplete)
            #expect(result.notSent == 3 && result.inDoubt == 2)
            let link = try #require(result.unfinished.first)
            #expect(link.inDoubt == Array(trackers[..<2]) && link.notSent.map(\.tracker) == Array(trackers[2...]))
            #expect(link.address == "q" && link.linkName == sender.name)
            for (index, tracker) in trackers.enumerated() {
                guard case .failure(let error)? = tracker.result else {
                    Issue.record("\(index) has \(tracker.result as Any)")
                    continue
                }
                #expect(error.fate == (index < 2 ? .inDoubt : .notSent))
            }
        }
    }

    @Test(arguments: Level.allCases) func anAnsweredCloseLeavesNoDecisionInDoubt(level: Level) async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await peer.run { peer in for size in 1...8 { peer.send(payload(size), on: peer.links[0]) } }
            let held = try await self.take(receiver, 6)
            for delivery in held.dropFirst(2) { delivery.accept() }
            let result = await level.close(receiver)
            #expect(result.error == nil && result.deliveriesNotSettled == 2, "\(result)")
            #expect(result.settlementsInDoubt == 0 && result.settlementsNotWritten == 0)
            #expect("\(result)" == "2 deliveries not settled")
        }
    }

    /// The socket accepted the decisions, but the peer has stopped reading.
    @Test(arguments: Level.allCases, [AMQPReceiverSettleMode.first, .second])
    func writtenDecisionsWithoutAnAnswerAreInDoubt(level: Level, mode: AMQPReceiverSettleMode) async throws {
        var connection = AMQPConnection.Configuration()
        connection.idleTimeout = nil
        try await withSession(configuration: connection) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            configuration.settleMode = mode
            let receiver = try await session.openReceiver(configuration)
            try await peer.run { peer in
                for size in 1...8 { peer.send(payload(size), on: peer.links[0]) }
                peer.wire.completesOnFlush = true
                peer.toPeer.allowance = 0
            }
            let held = try await self.take(receiver, 6)
            for delivery in held.dropFirst(2) { delivery.accept() }
            let close = begin { await level.close(receiver) }
            await peer.settle()
            await peer.advance(by: .seconds(31))
            let result = try await close.value
            #expect(result.error?.condition == .timeout && result.error?.origin == .local)
            #expect(result.settlementsInDoubt == 4 && result.settlementsNotWritten == 0, "\(result)")
            #expect(result.deliveriesNotSettled == 2)
        }
    }

    /// With settle mode second, the answer to the close proves only that the peer has read a decision, not that it has
    /// settled.
    @Test func decisionsThatTheSenderDidNotSettleStayInDoubt() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onUpdate = { peer, delivery in peer.unsettled.append(delivery) }
            return script
        }
        try await withSession(script) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            configuration.settleMode = .second
            let receiver = try await session.openReceiver(configuration)
            try await peer.run { peer in for size in 1...5 { peer.send(payload(size), on: peer.links[0]) } }
            let held = try await self.take(receiver, 5)
            for delivery in held.dropLast() { delivery.accept() }
            await peer.settle()
            try await peer.run { peer in pn_delivery_settle(peer.unsettled[0]) }
            let result = await receiver.close()
            #expect(
                result.error == nil && result.settlementsInDoubt == 3 && result.deliveriesNotSettled == 1,
                "\(result)"
            )
        }
    }

    @Test(arguments: Level.allCases) func thePeersErrorIsInside(level: Level) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.closes = false
            return script
        }
        try await withSession(script) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            let close = begin { await level.close(receiver) }
            await peer.settle()
            #expect(!close.isDone)
            try await peer.run { peer in
                let link = peer.links[0]
                switch level {
                case .link:
                    pn_condition_set_name(pn_link_condition(link), "x:late")
                    pn_link_close(link)
                case .session:
                    pn_condition_set_name(pn_session_condition(pn_link_session(link)), "x:late")
                    pn_session_close(pn_link_session(link))
                case .connection:
                    pn_condition_set_name(pn_connection_condition(peer.connection), "x:late")
                    pn_connection_close(peer.connection)
                }
            }
            let result = try await close.value
            #expect(result.error?.condition == "x:late" && result.error?.origin == .peer)
            #expect(result.unfinished.isEmpty && !result.isComplete)
        }
    }

    @Test func aSocketThatClosesIsNoAnswer() async throws {
        try await withSession({ .notClosing }) { session, peer in
            let close = begin { await session.connection.close() }
            await peer.settle()
            #expect(!close.isDone)
            try await peer.loseConnection()
            let result = try await close.value
            #expect(result.error?.condition == .connectionLost && result.error?.ending == .lost)
            #expect(result.error?.detail.contains("without answering the close") == true)
        }
    }

    @Test(arguments: Level.allCases) func aCancelledCloseReturnsTheNumbersAtOnce(level: Level) async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            _ = try sender.trySend(encoded: payload(9))
            try await peer.run { $0.script.closes = false }
            let close = begin { await level.close(sender) }
            await peer.settle()
            #expect(!close.isDone)
            close.cancel()
            let result = try await close.value
            #expect(result.error?.condition == .cancelled && result.notSent == 1)
            // The close continues.
            #expect(sender.error != nil)
        }
    }

    @Test func anEndedLinkHasItsNumbersStill() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            try await peer.run { peer in for size in 1...5 { peer.send(payload(size), on: peer.links[0]) } }
            let held = try await self.take(receiver, 5)
            held[0].accept()
            await peer.advance(by: .milliseconds(50))
            try await peer.loseConnection()
            #expect(held[1].accept() == .stale)
            for _ in 0..<2 {
                let result = await receiver.close()
                #expect(result.error?.ending == .lost)
                #expect(result.deliveriesNotSettled == 3 && result.settlementsNotWritten == 1, "\(result)")
                #expect(result.settlementsInDoubt == 1)
            }
        }
    }

    /// A second close with a shorter limit ends at that limit, and returns the same list as the first.
    @Test(arguments: [Level.session, .connection])
    func aShorterCloseBesideAnother(level: Level) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        try await withSession(configuration: configuration, Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            for size in 1...5 { try sender.trySend(encoded: payload(size)) }
            try await peer.run { peer in
                pn_link_flow(peer.links[0], 2)
                peer.script.closes = false
            }
            let first = begin { await level.close(sender) }
            await peer.settle()
            let second = begin {
                level == .session
                    ? await session.close(within: .seconds(1)) : await session.connection.close(within: .seconds(1))
            }
            await peer.settle()
            await peer.advance(by: .seconds(2))
            let result = try await second.value
            #expect(result.notSent == 3 && result.inDoubt == 2 && result.error?.condition == .timeout, "\(result)")
            if level == .connection {
                #expect(result.error?.scope == .connection)
                try await eventually("the socket is closed") { try await peer.run { $0.wire.isClosed } }
            } else {
                await peer.advance(by: .seconds(30))
            }
            let other = try await first.value
            #expect(other.notSent == 3 && other.inDoubt == 2, "\(other)")
        }
    }

    /// A scope counts the messages that its body left behind when the body closes the connection itself.
    @Test func aScopeCountsMessagesLeftByItsBody() async throws {
        try await withPeer(Self.undecided) { connection, peer in
            let scope = begin {
                try await connection.scope(within: .seconds(5)) { connection in
                    let sender = try await connection.openSession().openSender(to: "q")
                    try sender.trySend(AMQPMessage(body: "x"))
                    let result = await connection.close()
                    #expect(result.notSent == 1)
                }
            }
            let error = await expectError(.closed) { _ = try await scope.value }
            #expect(error?.fate == .notSent && error?.detail.contains("1 message not sent") == true)
            #expect(error?.detail.hasSuffix("the connection was closed") == true, "\(error as Any)")
        }
    }

    /// The end of the connection replaces the error of a link that was closed in order before.
    @Test func theErrorNamesTheOutermostEndedScope() async throws {
        try await withPeer { connection, peer in
            let session = try await connection.openSession()
            let sender = try await session.openSender(to: "q")
            await sender.close()
            #expect(sender.error?.scope == .link)
            await connection.close(within: .seconds(5))
            #expect(sender.error?.scope == .connection && sender.error?.condition == .closed)
        }
    }

    /// A partly sent message counts as not sent in the result, and as aborted in its tracker.
    @Test func aMessageThatHadBegunIsAborted() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: 10)
            script.maxFrameSize = 512
            script.sessionCapacity = 2_048
            script.takesMessages = false
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            let tracker = try sender.trySend(encoded: payload(100_000))
            await peer.settle()
            let close = begin { await sender.close(within: .seconds(60)) }
            await peer.settle()
            try await peer.loseConnection()
            let result = try await close.value
            #expect(result.notSent == 1 && result.inDoubt == 0 && result.error?.ending == .lost)
            guard case .failure(let error)? = tracker.result else { throw Unexpected(what: "\(tracker)") }
            #expect(error.fate == .aborted)
        }
    }

    /// Handlers can send replies until their messages are settled. Then everything that they sent leaves.
    @Test(arguments: [Level.session, .connection])
    func receiversStopBeforeSenders(level: Level) async throws {
        try await withSession(configuration: ReceiverDrainTests.slow, { .settlingNothing }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            let sender = try await session.openSender(to: "answers")
            try await peer.run { peer in
                for size in 1...6 { peer.send(payload(size), on: peer.links[0]) }
                pn_link_flow(peer.links[1], 10)
            }
            let held = try await self.take(receiver, 3)
            let close = begin {
                level == .session
                    ? await session.close(within: .seconds(60)) : await session.connection.close(within: .seconds(60))
            }
            await peer.settle()
            #expect(receiver.poll() == nil)
            var trackers: [AMQPTracker] = []
            for delivery in held {
                trackers.append(try sender.trySend(encoded: delivery.payload))
                delivery.accept()
                await peer.settle()
            }
            #expect(!close.isDone && receiver.error != nil && sender.error == nil)
            await expectError(.closed) { try await sender.enqueue(AMQPMessage(body: "late")) }
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            let result = try await close.value
            #expect(result.isComplete, "\(result)")
            for tracker in trackers { #expect(tracker.result == .success(.accepted)) }
        }
    }

    @Test func onlyAnOrderlyEndDistinguishesDetachFromClose() async throws {
        for detaches in [false, true] {
            try await withSession { session, peer in
                let receiver = try await session.openReceiver(from: "q")
                let sender = try await session.openSender(to: "q")
                try await peer.run { peer in
                    for link in peer.links { if detaches { pn_link_detach(link) } else { pn_link_close(link) } }
                }
                #expect(try await receiver.next() == nil)
                for error in [receiver.error, sender.error] {
                    #expect(error?.condition == .closed && error?.origin == .peer)
                    #expect(error?.ending == (detaches ? .detached : .closed))
                }
            }
        }
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            await sender.detach()
            #expect(sender.error?.ending == .detached && sender.error?.origin == .local)
        }
    }

    /// The peer stops reading at a random point. Every decision that it has not read is in doubt or not written.
    @Test(arguments: 0..<20) func unreadDecisionsNeverCountAsRead(run: Int) async throws {
        let seed = SeededGenerator.seed()
        let read = Mutex(0)
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onUpdate = { _, delivery in
                read.withLock { $0 += 1 }
                pn_delivery_settle(delivery)
            }
            return script
        }
        try await withSession(script) { session, peer in
            var random = SeededGenerator(seed: seed)
            let window = Int.random(in: 2...20, using: &random)
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(window))
            configuration.settlementDelay = .zero
            let receiver = try await session.openReceiver(configuration)
            try await peer.run { $0.wire.completesOnFlush = true }
            let stop = Int.random(in: 0..<60, using: &random)
            var held: [AMQPDelivery] = []
            var decided = 0
            for step in 0..<80 {
                if step == stop {
                    let allowance = Int.random(in: 0...200, using: &random)
                    try await peer.run { $0.toPeer.allowance = allowance }
                }
                switch Int.random(in: 0..<4, using: &random) {
                case 0, 1:
                    try await peer.run { if pn_link_credit($0.links[0]) > 0 { $0.send(payload(9), on: $0.links[0]) } }
                case 2: while let delivery = receiver.poll() { held.append(delivery) }
                default:
                    for _ in 0..<Int.random(in: 0...held.count, using: &random) {
                        held.remove(at: Int.random(in: 0..<held.count, using: &random)).accept()
                        decided += 1
                    }
                    await peer.settle()
                }
            }
            await peer.settle()
            try await peer.loseConnection()
            let result = await receiver.close()
            let unread = decided - read.withLock { $0 }
            let uncertain = result.settlementsInDoubt + result.settlementsNotWritten
            #expect(uncertain >= unread && uncertain <= decided, "seed \(seed): \(unread) unread, \(result)")
            #expect(result.deliveriesNotSettled == held.count, "seed \(seed): \(result)")
            // The credit that the peer used has proved some decisions read.
            if stop > 55, decided > 3 * window { #expect(uncertain < decided, "seed \(seed)") }
        }
    }
}
