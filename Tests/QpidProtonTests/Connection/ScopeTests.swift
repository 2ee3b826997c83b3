// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The end of a scope never loses an accepted message silently.
@Suite(.deadline)
struct ScopeTests {
    private struct Stop: Error {}
    enum Kind: CaseIterable { case connection, session, sender }

    private static let configuration: AMQPConnection.Configuration = {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        configuration.stallWarning = nil
        return configuration
    }()

    private static let undecided = { @Sendable () -> PeerScript in
        var script = PeerScript.settlingNothing
        script.credit = nil
        return script
    }

    /// Runs `body` with a connection, its peer and its log.
    private func withLog(
        _ body: (AMQPConnection, InMemoryPeer, LogLines) async throws -> Void
    ) async throws {
        let log = LogLines()
        let peer = try await InMemoryPeer(
            configuration: Self.configuration,
            script: Self.undecided(),
            logger: log.logger
        )
        do {
            let parts = AMQPConnection.Parts(peer.handler, peer.channel)
            try await body(AMQPConnection(parts, try await parts.opened.value(), Self.configuration), peer, log)
        } catch {
            await peer.finish()
            throw error
        }
        await peer.finish()
    }

    /// Runs a scope that ends while five messages wait. The second of them leaves once there is credit.
    private static func run(
        _ kind: Kind,
        on connection: AMQPConnection,
        within limit: Duration = .seconds(30),
        _ end: @escaping @Sendable () async throws -> Void = {}
    ) -> Begun<[AMQPTracker]> {
        @Sendable func send(_ session: AMQPSession) async throws -> [AMQPTracker] {
            try await Self.send(try await session.openSender(to: "q"), end)
        }
        return begin {
            switch kind {
            case .connection: try await connection.scope(within: limit) { try await send(try await $0.openSession()) }
            case .session: try await connection.withSession(closingWithin: limit) { try await send($0) }
            case .sender:
                try await connection.openSession().withSender(.init(target: "q"), closingWithin: limit) {
                    try await Self.send($0, end)
                }
            }
        }
    }

    private static func send(_ sender: AMQPSender, _ end: () async throws -> Void) async throws -> [AMQPTracker] {
        var transfers: [AMQPTracker] = []
        for size in 1...5 { transfers.append(try await sender.enqueue(encoded: payload(size))) }
        try await end()
        return transfers
    }

    @Test(arguments: Kind.allCases)
    func theEndOfAScopeSendsWaitingMessages(kind: Kind) async throws {
        try await self.withLog { connection, peer, log in
            let scope = Self.run(kind, on: connection)
            await peer.settle()
            await peer.advance(by: .seconds(20))
            #expect(!scope.isDone)
            try await peer.run { pn_link_flow($0.links[0], 10) }
            #expect(try await peer.run { $0.received.count } == 5)
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            for transfer in try await scope.value { #expect(transfer.result == .success(.accepted)) }
            #expect(!log.text.contains("messages failed"))
        }
    }

    @Test(arguments: Kind.allCases, [30, 8])
    func unsentMessagesAreCountedInTheError(kind: Kind, seconds: Int) async throws {
        try await self.withLog { connection, peer, log in
            let scope =
                seconds == 30
                ? Self.run(kind, on: connection) : Self.run(kind, on: connection, within: .seconds(seconds))
            try await eventually("the end of the scope begins") {
                try await peer.run { !$0.handler.sending.flushing.isEmpty }
            }
            try await peer.run { pn_link_flow($0.links[0], 2) }
            await peer.advance(by: .seconds(Int64(seconds - 1)))
            #expect(!scope.isDone)
            await peer.advance(by: .seconds(1))
            let error = await expectError(.timeout) { try await scope.value }
            #expect(
                error?.detail.contains("3 messages not sent, 2 messages in doubt") == true,
                "\(error as Any)"
            )
            #expect(log.text.contains("messages failed"))
        }
    }

    @Test(arguments: Kind.allCases)
    func aScopeThatSendsNoMoreCountsToo(kind: Kind) async throws {
        try await self.withLog { connection, peer, _ in
            let scope = Self.run(kind, on: connection, within: .zero)
            let error = await expectError(.closed) { try await scope.value }
            #expect(error?.detail.contains("5 messages not sent: ") == true, "\(error as Any)")
        }
    }

    /// The scope rethrows the error of its body. It still sends the waiting messages, and logs the ones that it could
    /// not send.
    @Test(arguments: Kind.allCases, [false, true])
    func anErrorOfTheBodyTakesPrecedence(kind: Kind, isSent: Bool) async throws {
        try await self.withLog { connection, peer, log in
            let scope = Self.run(kind, on: connection) { throw Stop() }
            await peer.settle()
            #expect(!scope.isDone)
            if isSent {
                try await peer.run { pn_link_flow($0.links[0], 10) }
                try await peer.run { $0.settleAll(PN_ACCEPTED) }
            } else {
                try await eventually("the limit of the scope is over") {
                    await peer.advance(by: .seconds(1), steps: 1)
                    return scope.isDone
                }
            }
            await #expect(throws: Stop.self) { try await scope.value }
            #expect(try await peer.run { $0.received.count } == (isSent ? 5 : 0))
            #expect(log.text.contains("messages failed") != isSent)
            #expect(isSent || log.text.contains("\"amqp.unsent\": 5"))
        }
    }

    @Test(arguments: Kind.allCases, [false, true])
    func aCancelledScopeEndsWithinASecond(kind: Kind, waitsInBody: Bool) async throws {
        try await self.withLog { connection, peer, log in
            let isReached = Reply<Void>()
            let scope = Self.run(kind, on: connection) {
                isReached.resolve(.success(()))
                if waitsInBody { try await Task.sleep(for: .seconds(3_600)) }
            }
            try await isReached.value()
            await peer.settle()
            // The peer is frozen as well.
            try await peer.run { $0.toPeer.allowance = 0 }
            let start = peer.loop.now
            scope.cancel()
            try await eventually("the end") {
                await peer.advance(by: .milliseconds(10), steps: 1)
                return scope.isDone
            }
            // The body may take long to end, but the operation timeout of the close has not passed.
            if slowdown == 1 { #expect(peer.loop.now - start < .seconds(25)) }
            if waitsInBody {
                await #expect(throws: CancellationError.self) { try await scope.value }
            } else {
                let error = await expectError(.timeout) { try await scope.value }
                #expect(error?.detail.contains("5 messages not sent") == true)
            }
            #expect(log.text.contains("messages failed"))
        }
    }

    @Test func aScopeOnALostConnectionEndsAtOnce() async throws {
        try await self.withLog { connection, peer, log in
            let scope = Self.run(.connection, on: connection) { try await peer.loseConnection() }
            await expectError(.connectionLost) { try await scope.value }
            #expect(log.text.contains("messages failed"))
        }
    }

    /// The last reference is released while messages wait.
    @Test func droppingAConnectionLogsWaitingMessages() async throws {
        let log = LogLines()
        let peer = try await InMemoryPeer(script: Self.undecided(), logger: log.logger)
        do {
            let parts = AMQPConnection.Parts(peer.handler, peer.channel)
            let connection = AMQPConnection(parts, try await parts.opened.value(), .init())
            let sender = try await connection.openSession().openSender(to: "q")
            for size in 1...5 { try sender.trySend(encoded: payload(size)) }
            await peer.settle()
        }
        await peer.settle()
        let line = try #require(log.text.split(separator: "\n").first { $0.contains("messages failed") })
        #expect(line.contains("\"amqp.unsent\": 5") && line.contains("\"amqp.unsettled\": 0"), "\(line)")
        await peer.finish()
    }
}
