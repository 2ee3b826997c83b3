// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The fate of messages that wait in a receiver when it ends, and the tasks that receive the error.
@Suite(.deadline)
struct ReceiverEndTests {
    private static let untaken = "no task had received"

    private func send(_ peer: InMemoryPeer, _ sizes: Range<Int>, settled: Bool = false) async throws {
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0], settled: settled) }
        }
    }

    private func expectEnd(_ end: LinkEnd, _ body: () async throws -> AMQPDelivery?) async throws {
        if let condition = end.condition {
            await expectError(condition, body)
        } else {
            #expect(try await body() == nil)
        }
    }

    @Test(arguments: LinkEnd.allCases)
    func unsettledMessagesAreCountedAndNotDelivered(end: LinkEnd) async throws {
        let log = LogLines()
        try await withSession(logger: log.logger, { .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await peer.run { peer in
                for size in 0..<30 { peer.send(payload(size), on: peer.links[0], settled: size % 3 == 0) }
            }
            #expect(try await receiver.next()?.payload == payload(0))
            let held = try #require(try await receiver.next())
            #expect(held.payload == payload(1) && !held.isSettled)
            try await end.run(receiver, peer)
            // The sender does not send settled messages again.
            for size in stride(from: 3, to: 30, by: 3) {
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload == payload(size) && delivery.isSettled)
            }
            #expect(receiver.bufferedMessages == 0 && receiver.bufferedBytes == 0 && receiver.poll() == nil)
            // Every call reports the end, however late.
            for _ in 0..<3 {
                try await self.expectEnd(end) { try await receiver.next() }
                try await self.expectEnd(end) { try await receiver.nextBatch(max: 5).first }
                try await self.expectEnd(end) { try await receiver.receive(timeout: .seconds(60)) }
                try await self.expectEnd(end) { try await receiver.makeAsyncIterator().next(isolation: nil) }
                let batches = receiver.batches(max: 5).makeAsyncIterator()
                try await self.expectEnd(end) { try await batches.next(isolation: nil)?.first }
            }
            let lines = log.lines(with: Self.untaken)
            #expect(lines.count == 1 && lines.first?.contains("\"amqp.messages\": 19") == true, "\(lines)")
            #expect(lines.first?.contains(end.words) == true, "\(lines)")
            let released = try await peer.run { $0.outcomes.count { $0 == UInt64(PN_RELEASED) } }
            #expect(released == (end == .ownError ? 19 : 0))
            withExtendedLifetime(held) {}
        }
    }

    /// An orderly end by this side is not an error at any level. Loops and waits end, and `error` names what has ended.
    @Test(arguments: [AMQPError.Scope.link, .session, .connection], [Duration.zero, .seconds(5)])
    func theEndsOfThisSideAreAlike(scope: AMQPError.Scope, limit: Duration) async throws {
        try await withSession { session, _ in
            let receiver = try await session.openReceiver(from: "q")
            let sender = try await session.openSender(to: "q")
            let loop = begin { for try await delivery in receiver { delivery.accept() } }
            let waits = [
                begin { try await receiver.waitUntilClosed() }, begin { try await sender.waitUntilClosed() },
                begin { if scope != .link { try await session.waitUntilClosed() } },
                begin { if scope == .connection { try await session.connection.waitUntilClosed() } },
            ]
            switch scope {
            case .link:
                _ = await (receiver.close(within: limit), sender.close(within: limit))
            case .session: _ = await session.close(within: limit)
            default: _ = await session.connection.close(within: limit)
            }
            try await loop.value
            for wait in waits { try await wait.value }
            #expect(try await receiver.next() == nil)
            for error in [receiver.error, sender.error] {
                #expect(error?.condition == .closed && error?.origin == .local)
            }
            // A receiver that was closed first has an end of its own.
            if limit == .zero { #expect(sender.error?.scope == scope && receiver.error?.scope == scope) }
        }
    }

    @Test(arguments: [LinkEnd.sessionEnd, .connectionClose]) func anEndOfThePeerNamesThePeer(end: LinkEnd) async throws
    {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await end.run(receiver, peer)
            let error = await expectError(.closed) { try await receiver.next() }
            #expect(error?.origin == .peer && error?.scope == (end == .sessionEnd ? .session : .connection))
            #expect(session.error?.origin == .peer && error?.isRetryable == true)
        }
    }

    @Test(arguments: LinkEnd.allCases) func everyWaitingTaskReceivesTheEnd(end: LinkEnd) async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            let waits =
                (0..<3).map { _ in begin { try await receiver.next() } }
                + (0..<3).map { _ in begin { try await receiver.nextBatch(max: 3).first } }
                + (0..<2).map { _ in begin { try await receiver.receive(timeout: .seconds(60)) } }
            try await end.run(receiver, peer)
            for wait in waits { try await self.expectEnd(end) { try await wait.value } }
        }
    }

    /// The messages and the end arrive in one read, so waiting tasks receive none of the unsettled messages.
    @Test(arguments: [LinkEnd.detachWithError, .sessionError, .connectionError, .detach])
    func messagesThatArriveWithTheEndAreNotDelivered(end: LinkEnd) async throws {
        let log = LogLines()
        try await withSession(logger: log.logger) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            let waits = (0..<4).map { _ in begin { try await receiver.next() } }
            try await peer.run { peer in
                for size in 0..<10 { peer.send(payload(size), on: peer.links[0], settled: size == 7) }
                end.bring(about: peer)
            }
            #expect(try await waits[0].value?.payload == payload(7))
            for wait in waits.dropFirst() { try await self.expectEnd(end) { try await wait.value } }
            #expect(log.lines(with: Self.untaken).first?.contains("\"amqp.messages\": 9") == true)
        }
    }

    @Test func aWaitingMessageThatTheSenderSettlesIsDelivered() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 0..<5)
            try await peer.run { peer in
                let first = pn_unsettled_head(peer.links[0])
                if let second = pn_unsettled_next(first) { pn_delivery_settle(second) }
            }
            try await LinkEnd.detachWithError.run(receiver, peer)
            #expect(try await receiver.next()?.payload == payload(1))
            await expectError("x:end") { try await receiver.next() }
        }
    }

    /// The window had no room for these messages, so they wait behind the delivered ones.
    @Test(arguments: [LinkEnd.detachWithError, .connectionLost])
    func settledMessagesWithoutRoomAreDelivered(end: LinkEnd) async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .bytes(2_048))
            await peer.settle()
            let credit = receiver.credit
            try #require(credit >= 4)
            try await self.send(peer, 1_000..<(1_000 + credit), settled: true)
            #expect(receiver.bufferedBytes <= 2_048)
            try await end.run(receiver, peer)
            for size in 1_000..<(1_000 + credit) { #expect(try await receiver.next()?.payload == payload(size)) }
            try await self.expectEnd(end) { try await receiver.next() }
        }
    }

    @Test(arguments: [nil, true, false]) func anAcceptedLinkDeliversAsConfigured(delivers: Bool?) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = true
        try await withPeer(role: .server, configuration: configuration) { connection, peer in
            try await peer.run { peer in
                guard let session = pn_session(peer.connection), let link = pn_sender(session, "in") else { return }
                pn_session_open(session)
                pn_link_open(link)
                peer.links.append(link)
            }
            let incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next(isolation: nil) else {
                throw Unexpected(what: "no session")
            }
            try await session.accept()
            guard case .receiver(let wish)? = try await incoming.next(isolation: nil) else {
                throw Unexpected(what: "no link")
            }
            var settings = AMQPReceiver.Configuration(window: .messages(10))
            settings.deliversUnsettledAfterEnd = delivers
            let receiver = try await wish.accept(settings)
            try await self.send(peer, 0..<5)
            try await peer.loseConnection()
            if delivers ?? true {
                for size in 0..<5 { #expect(try await receiver.next()?.payload == payload(size)) }
            }
            for _ in 0..<3 { await expectError(.connectionLost) { try await receiver.next() } }
        }
    }

    @Test func anAttachedLinkCanDeliverAfterItsEnd() async throws {
        let log = LogLines()
        try await withSession(logger: log.logger) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            configuration.deliversUnsettledAfterEnd = true
            let receiver = try await session.openReceiver(configuration)
            try await self.send(peer, 0..<5)
            try await LinkEnd.sessionEnd.run(receiver, peer)
            for size in 0..<5 { #expect(try await receiver.next()?.payload == payload(size)) }
            await expectError(.closed) { try await receiver.next() }
            #expect(log.lines(with: Self.untaken).isEmpty)
        }
    }

    /// An orderly close releases in every configuration, and is not an error for any task.
    @Test(arguments: [true, false]) func anOwnCloseReleases(delivers: Bool) async throws {
        let log = LogLines()
        try await withSession(logger: log.logger, { .keepingOutcomes }) { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            configuration.deliversUnsettledAfterEnd = delivers
            let receiver = try await session.openReceiver(configuration)
            try await self.send(peer, 0..<5)
            try await self.send(peer, 5..<6, settled: true)
            try await receiver.close().check()
            await peer.settle()
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_RELEASED), count: 5))
            #expect(try await receiver.next()?.payload == payload(5))
            for _ in 0..<3 { #expect(try await receiver.next() == nil) }
            #expect(log.lines(with: Self.untaken).isEmpty)
        }
    }

    @Test(arguments: LinkEnd.allCases) func anEndedReceiverReleasesItsMemoryToTheBudget(end: LinkEnd) async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        var configuration = AMQPConnection.Configuration()
        configuration.receiveBudget = budget
        configuration.maxFrameSize = 4_096
        try await withSession(configuration: configuration) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, 5_000..<5_020)
            #expect(budget.used > 20_000)
            let held = try #require(try await receiver.next())
            try await end.run(receiver, peer)
            #expect(receiver.bufferedBytes == 0)
            try await eventually("the budget is empty") {
                await peer.settle()
                return budget.used == 0
            }
            withExtendedLifetime(held) {}
        }
    }

    /// Reading a partly received message ends with the error of the link, each time.
    @Test(arguments: LinkEnd.allCases) func aBodyUnderWayEndsWithTheError(end: LinkEnd) async throws {
        try await withSession { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(10))
            configuration.streamsMessages = true
            let receiver = try await session.openReceiver(configuration)
            let bytes = try AMQPMessage(body: .data([payload(30_000)])).encoded()
            let beginning = try #require(bytes.getSlice(at: 0, length: 10_000))
            try await peer.run { _ = $0.send(beginning, on: $0.links[0], isLast: false) }
            let delivery = try #require(try await receiver.next())
            try await end.run(receiver, peer)
            var body = delivery.body.makeAsyncIterator()
            #expect(try await body.next(isolation: nil) != nil)
            let condition = end == .detach ? .aborted : end.condition ?? .closed
            for _ in 0..<3 { await expectError(condition) { try await body.next(isolation: nil) } }
        }
    }

    /// A waiting drain, pause or close throws the error as well.
    @Test(arguments: LinkEnd.allCases) func drainsAndPausesEndWithTheError(end: LinkEnd) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.answersDrain = false
            return script
        }
        try await withSession(configuration: ReceiverDrainTests.slow, script) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            let drain = begin { try await receiver.drain(timeout: .seconds(60)) }
            let pause = begin { try await receiver.pause() }
            await peer.settle()
            try await end.run(receiver, peer)
            let condition = end.condition ?? .closed
            await expectError(condition) { try await drain.value }
            await expectError(condition) { try await pause.value }
            await expectError(condition) { try await receiver.drain(timeout: .seconds(60)) }
            await expectError(condition) { try await receiver.pause() }
        }
    }
}
