// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The timers of a connection itself, on the clock of the testing loop.
@Suite(.deadline)
struct ConnectionTimersTests {
    private var configuration: AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        configuration.operationTimeout = .seconds(5)
        return configuration
    }

    @Test func aCloseThatIsNotAnsweredEndsAtItsLimit() async throws {
        try await withPeer(configuration: self.configuration) { connection, peer in
            try await peer.run { $0.handler.timers.limitClose(of: $0.handler) }
            await peer.advance(by: .milliseconds(4_900))
            // A second call does not extend the limit.
            try await peer.run { $0.handler.timers.limitClose(of: $0.handler) }
            #expect(try await peer.run { !$0.handler.isDead })
            await peer.advance(by: .milliseconds(100))
            #expect(try await peer.run { $0.handler.isDead })
            #expect(connection.error?.condition == .timeout && connection.error?.scope == .connection)
        }
    }

    @Test func aCancelledLimitEndsNothing() async throws {
        try await withPeer(configuration: self.configuration) { connection, peer in
            try await peer.run { peer in
                peer.handler.timers.limitClose(of: peer.handler)
                peer.handler.timers.cancel()
            }
            await peer.advance(by: .seconds(60))
            #expect(try await peer.run { !$0.handler.isDead } && connection.error == nil)
        }
    }

    /// The timer fires when the first message expires, and not once for each message.
    @Test func messagesExpireInTheirOwnTimes() async throws {
        try await withSession(configuration: self.configuration, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            func send(_ seconds: Int) throws -> AMQPTracker {
                try sender.trySend(encoded: payload(1), options: .init(expiresAfter: .seconds(seconds)))
            }
            let trackers = [try send(3), try send(1), try send(2)]
            let states = { trackers.map { $0.result != nil } }
            await peer.advance(by: .milliseconds(990))
            #expect(states() == [false, false, false])
            await peer.advance(by: .milliseconds(20))
            #expect(states() == [false, true, false])
            await peer.advance(by: .seconds(1))
            #expect(states() == [false, true, true])
            await peer.advance(by: .seconds(1))
            #expect(states() == [true, true, true])
            #expect(trackers.allSatisfy { $0.result?.failure?.condition == .expired })
        }
    }
}
