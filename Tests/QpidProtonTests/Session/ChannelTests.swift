// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Channel numbers on the wire: the number of an ended session rests before another session uses it.
@Suite(.deadline)
struct ChannelTests {
    /// Returns the channels of the library's `begin` frames, in order.
    private func channels(_ peer: InMemoryPeer) async throws -> [UInt16] {
        try await peer.framesOfLibrary().filter { $0.code == .begin }.map(\.channel)
    }

    @Test func aNumberIsNotUsedAgainAtOnce() async throws {
        try await withPeer { connection, peer in
            for _ in 0..<5 { try await connection.openSession().close().check() }
            #expect(try await self.channels(peer) == [0, 1, 2, 3, 4])
            // Sessions that only reserve a number are invisible to the peer.
            #expect(try await peer.count(.end) == 5)
            await peer.advance(by: .milliseconds(150))
            for _ in 0..<3 { try await connection.openSession().close().check() }
            #expect(try await self.channels(peer).suffix(3) == [0, 1, 2])
            #expect(connection.error == nil)
        }
    }

    @Test func aSessionThatThePeerEndedLeavesItsNumberToRestToo() async throws {
        try await withPeer { connection, peer in
            for number in 0..<4 {
                let session = try await connection.openSession()
                try await peer.run { pn_session_close($0.sessions[number]) }
                #expect(session.error != nil)
            }
            #expect(try await self.channels(peer) == [0, 1, 2, 3])
            #expect(try await peer.count(.end) == 4)
        }
    }

    @Test func aSessionThatStaysKeepsItsNumber() async throws {
        try await withPeer { connection, peer in
            let first = try await connection.openSession()
            let second = try await connection.openSession()
            try await first.close().check()
            try await connection.openSession().close().check()
            let sender = try await second.openSender(to: "q")
            #expect(try await sender.send(AMQPMessage(body: "x")) == .accepted)
            #expect(try await self.channels(peer) == [0, 1, 2])
        }
    }

    /// A peer that has not answered the `begin` has not ended the session either.
    @Test func aNumberRestsFromThePeersEnd() async throws {
        try await withPeer({ .notClosing }) { connection, peer in
            let session = try await connection.openSession()
            let closing = begin { try await session.close().check() }
            await peer.settle()
            await peer.advance(by: .milliseconds(500))
            _ = try await connection.openSession()
            try await peer.run { pn_session_close($0.sessions[0]) }
            try await closing.value
            _ = try await connection.openSession()
            await peer.advance(by: .milliseconds(150))
            _ = try await connection.openSession()
            #expect(try await self.channels(peer) == [0, 1, 2, 0])
        }
    }

    /// With few numbers the `begin` waits until one of them has rested.
    @Test func aBeginWaitsWhileAllNumbersRest() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.channelMax = 1
        try await withPeer(configuration: configuration) { connection, peer in
            try await connection.openSession().close().check()
            await peer.advance(by: .milliseconds(5))
            try await connection.openSession().close().check()
            let third = begin { try await connection.openSession() }
            let fourth = begin { try await connection.openSession() }
            await peer.settle()
            #expect(!third.isDone)
            #expect(try await self.channels(peer) == [0, 1])
            await peer.advance(by: .milliseconds(16))
            #expect(try await third.value.error == nil)
            #expect(try await self.channels(peer) == [0, 1, 0])
            await expectError(.resourceLimitExceeded) { try await connection.openSession() }
            await peer.advance(by: .milliseconds(30))
            #expect(try await fourth.value.error == nil)
            #expect(try await self.channels(peer) == [0, 1, 0, 1])
        }
    }

    @Test func aBeginThatWaitsCanBeCancelledOrEndsWithTheConnection() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.channelMax = 0
        try await withPeer(configuration: configuration) { connection, peer in
            try await connection.openSession().close().check()
            let cancelled = begin { try await connection.openSession() }
            await peer.settle()
            cancelled.cancel()
            await expectError(.cancelled) { try await cancelled.value }
            await peer.settle()
            let waiting = begin { try await connection.openSession() }
            await peer.settle()
            #expect(!waiting.isDone)
            try await connection.close().check()
            await expectError(.closed) { try await waiting.value }
            #expect(try await self.channels(peer) == [0])
        }
    }

    /// The answer to a `begin` does not wait, and uses a rested number if there is one.
    @Test(arguments: [UInt16(0), 7])
    func answersTakeRestedNumbers(channelMax: UInt16) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = true
        configuration.channelMax = channelMax
        try await withPeer(role: .server, configuration: configuration) { connection, peer in
            let incoming = connection.incoming.makeAsyncIterator()
            for _ in 0..<6 {
                let session = try await peer.run { peer in
                    let session = pn_session(peer.connection)
                    if let session { pn_session_open(session) }
                    return Unchecked(session)
                }
                guard case .session(let wish)? = try await incoming.next(isolation: nil) else {
                    throw Unexpected(what: "no session")
                }
                try await wish.accept()
                await peer.settle()
                try await peer.run { _ in if let session = session.value { pn_session_close(session) } }
            }
            let expected: [UInt16] = channelMax == 0 ? [0, 0, 0, 0, 0, 0] : [0, 1, 2, 3, 4, 5]
            #expect(try await self.channels(peer) == expected)
            #expect(connection.error == nil)
        }
    }

    /// Sessions that reserve numbers are freed when the numbers have rested.
    @Test func noReservingSessionRemains() async throws {
        try await withPeer { connection, peer in
            for _ in 0..<50 { try await connection.openSession().close().check() }
            #expect(try await peer.run { $0.handler.channels.held.count } == 49)
            await peer.advance(by: .milliseconds(300))
            #expect(try await peer.run { $0.handler.channels.held.isEmpty })
            #expect(try await peer.run { pn_session_head($0.handler.engine.connection, 0) == nil })
            let frames = try await peer.framesOfLibrary()
            #expect(frames.count { $0.code == .begin } == 50)
            #expect(frames.count { $0.code == .end } == 50)
        }
    }
}
