// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The last resort against too many received bytes: the connection stops reading its socket.
@Suite(.deadline)
struct ReadControllerTests {
    private let budget = AMQPMemoryBudget(limit: 2_000_000, low: 1_000_000)

    private func configuration(idle: Duration? = nil) -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.receiveBudget = self.budget
        configuration.idleTimeout = idle
        return configuration
    }

    private func isWithheld(_ peer: InMemoryPeer) async throws -> Bool {
        try await peer.run { $0.handler.receiving.isReadingWithheld }
    }

    @Test func readingStopsWhileTheBudgetHasNoRoomForARead() async throws {
        try await withPeer(configuration: self.configuration()) { connection, peer in
            try await peer.run { $0.handler.receiving.update() }
            #expect(try await !self.isWithheld(peer))
            let room = 2_000_000 - self.budget.used.bytes
            self.budget.reserve(room)
            try await peer.run { $0.handler.receiving.update() }
            #expect(try await self.isWithheld(peer))
            // Other connections make room, and this connection resumes by itself.
            self.budget.release(room)
            await peer.settle()
            #expect(try await !self.isWithheld(peer) && connection.error == nil)
        }
        #expect(self.budget.used == 0)
    }

    @Test func aDeadConnectionHoldsNothingAndWaitsForNothing() async throws {
        try await withPeer(configuration: self.configuration()) { _, peer in
            self.budget.reserve(2_000_000)
            try await peer.run { $0.handler.receiving.update() }
            #expect(try await self.isWithheld(peer))
            try await peer.loseConnection()
            #expect(self.budget.used == 2_000_000)
        }
        self.budget.release(2_000_000)
        #expect(self.budget.used == 0 && self.budget.isReadable(completing: 0))
        // The whole limit is free for other connections, without this connection's margin.
        #expect(ReadReservation(self.budget, isTLS: false).take(.max) == 2_000_000)
    }

    /// A peer that does not read makes the library accumulate answers endlessly.
    @Test func readingStopsWhileTooMuchWaitsForTheSocket() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        try await withPeer(configuration: configuration) { _, peer in
            let states = try await peer.run { peer in
                let handler = peer.handler
                let context = try #require(handler.context)
                peer.isDeaf = true
                peer.toPeer.allowance = 0
                let most = 4 * SocketWriter.budget
                handler.writer.write(ByteBuffer(repeating: 0, count: most), context, for: handler)
                handler.receiving.update()
                let atTheLimit = handler.receiving.isReadingWithheld
                handler.writer.write(ByteBuffer(repeating: 0, count: 1), context, for: handler)
                handler.receiving.update()
                handler.flush()
                return [atTheLimit, handler.receiving.isReadingWithheld]
            }
            #expect(states == [false, true])
            try await peer.run { $0.toPeer.allowance = nil }
            try await peer.run { $0.handler.receiving.update() }
            #expect(try await !self.isWithheld(peer))
        }
    }

    /// A peer does not count as silent while the library does not read its bytes.
    @Test func thePeersSilenceDoesNotCountWhileItIsNotRead() async throws {
        try await withPeer(configuration: self.configuration(idle: .seconds(4))) { connection, peer in
            self.budget.reserve(2_000_000)
            try await peer.run { $0.handler.receiving.update() }
            await peer.advance(by: .seconds(20), steps: 40)
            #expect(try await self.isWithheld(peer) && connection.error == nil)
            self.budget.release(2_000_000)
            await peer.settle()
            #expect(try await !self.isWithheld(peer) && connection.error == nil)
        }
    }
}
