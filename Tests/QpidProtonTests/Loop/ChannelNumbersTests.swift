// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The channel numbers of a connection, and the sessions that only reserve a number.
@Suite(.deadline)
struct ChannelNumbersTests {
    private func held(_ peer: InMemoryPeer) async throws -> [UInt16] {
        try await peer.run { $0.handler.channels.held.keys.sorted() }
    }

    private func channel(_ peer: InMemoryPeer) async throws -> UInt16? {
        try await peer.framesOfLibrary().last { $0.code == .begin }?.channel
    }

    @Test(arguments: [(7, 3, 4), (2, 9, 3), (0, 0, 1)] as [(UInt16, UInt16, Int)])
    func bothSidesLimitTheNumbers(own: UInt16, peers: UInt16, count: Int) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.channelMax = own
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.channelMax = peers
            return script
        }
        try await withPeer(configuration: configuration, script) { _, peer in
            let found = try await peer.run { $0.handler.channels.count }
            #expect(found == count)
        }
    }

    @Test func aRestingNumberIsReservedUntilItHasRested() async throws {
        try await withPeer { connection, peer in
            try await connection.openSession().close().check()
            #expect(try await self.held(peer) == [])
            let second = try await connection.openSession()
            #expect(try await self.held(peer) == [0])
            #expect(try await self.channel(peer) == 1)
            try await second.close().check()
            _ = try await connection.openSession()
            #expect(try await self.held(peer) == [0, 1])
            #expect(try await self.channel(peer) == 2)
            await peer.advance(by: .nanoseconds(ChannelRest.rest))
            #expect(try await self.held(peer) == [])
            _ = try await connection.openSession()
            #expect(try await self.channel(peer) == 0)
            // The sessions that reserved the numbers are invisible to the peer.
            #expect(try await peer.count(.begin) == 4)
            #expect(try await peer.count(.end) == 2)
            #expect(connection.error == nil)
        }
    }

    /// While every free number rests, a session of this side waits, in order.
    @Test func aSessionWaitsForANumber() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.channelMax = 0
        try await withPeer(configuration: configuration) { connection, peer in
            try await connection.openSession().close().check()
            let opening = begin { try await connection.openSession() }
            await peer.settle()
            #expect(try await peer.count(.begin) == 1 && !opening.isDone)
            await peer.advance(by: .nanoseconds(ChannelRest.leastRest))
            _ = try await opening.value
            #expect(try await peer.count(.begin) == 2)
            #expect(try await self.channel(peer) == 0)
        }
    }
}
