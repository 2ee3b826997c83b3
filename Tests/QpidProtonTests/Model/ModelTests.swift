// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Random schedules of the calls of an application and the actions of a peer, checked against a model.
///
/// Each failure reports the environment variables that repeat its schedule.
@Suite(.deadline(minutes: 10))
struct ModelTests {
    @Test(arguments: ModelCase.all)
    func theInvariantsHold(run: ModelCase) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 4_096
        configuration.idleTimeout = nil
        // The schedule may hold bytes back for any length of time.
        configuration.operationTimeout = .seconds(3_600)
        configuration.stallWarning = .seconds(1)
        var random = SeededGenerator(seed: ~run.seed)
        if random.chance(40) {
            configuration.sendLimit = .init(high: AMQPByteCount(random.number(10_000...80_000)))
        }
        if random.chance(50) {
            configuration.sendBudget = AMQPMemoryBudget(limit: AMQPByteCount(random.number(10_000...80_000)))
        }
        // The run ends in order, or with the loss of the socket.
        let isLost = random.chance(25)
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.maxFrameSize = 4_096
            script.sessionCapacity = 32_768
            return script
        }
        try await withPeer(configuration: configuration, script) { [configuration] connection, peer in
            let world = ModelWorld(peer, connection, configuration, seed: run.seed)
            do {
                try await world.run(steps: run.steps, isLost: isLost)
            } catch let failure as ModelFailure {
                Issue.record("\(run): \(failure)\n\(world.trace)")
                try? await world.giveUp()
            }
        }
    }
}

extension ModelWorld {
    fileprivate func run(steps: Int, isLost: Bool) async throws {
        try await self.perform { $0.hook() }
        for _ in 0..<12 { try await self.perform { $0.open() } }
        var left = steps
        while left > 0 {
            // Some steps run together, and some run before the effects of the previous step are complete.
            let count = min(left, self.random.chance(25) ? self.random.number(2...5) : 1)
            left -= count
            try await self.perform(settling: self.random.chance(80)) { world in
                for _ in 0..<count { world.step() }
            }
        }
        if isLost { return try await self.lose() }
        var rounds = 0
        while try await self.peer.run({ _ in !self.isFinished }), rounds < 400 {
            rounds += 1
            try await self.perform { $0.finish() }
        }
        try await self.perform { $0.checkEnd() }
        try await self.close()
        try await self.checkOver()
    }

    /// Drops the socket at a random point. Every call ends, and every message is accounted for.
    private func lose() async throws {
        try await self.peer.run { _ in
            self.note("the connection is lost")
            self.isLost = true
        }
        try await self.peer.loseConnection()
        try await self.endCalls()
        try await self.peer.run { _ in
            for sender in self.senders { sender.checkLost() }
        }
        try await self.close()
        try await self.checkOver()
    }

    private func checkOver() async throws {
        try await self.peer.run { _ in
            self.require(self.connection.outgoingBytes == 0, "bytes are left after the end of the connection")
            self.checkAccount()
            self.stranger.giveBack()
            self.require(self.budget?.used ?? 0 == 0, "\(self.budget?.used ?? 0) bytes are left of the budget")
            if let failure = self.failure { throw failure }
        }
    }

    /// Ends the calls of a run that has failed.
    fileprivate func giveUp() async throws {
        _ = try await self.peer.run { _ in
            for sender in self.senders { for message in sender.messages { sender.end(message) } }
            for call in self.calls { call.cancel() }
        }
        try await self.close()
    }

    /// Closes the connection. No task may still wait after that.
    fileprivate func close() async throws {
        let closing = self.begin("close") { _ in await self.connection.close() }
        try await self.endCalls()
        self.require(closing.isDone, "the connection does not close")
        try await self.peer.run { _ in
            self.peer.script = PeerScript()
            self.senders = []
            self.receivers = []
            self.sessions = []
        }
    }

    private func endCalls() async throws {
        try await eventually("all calls end") {
            try await self.peer.run { _ in
                self.release()
                self.executor.drain()
                self.peerLooks()
                return self.calls.allSatisfy(\.isDone)
            }
        }
    }
}
