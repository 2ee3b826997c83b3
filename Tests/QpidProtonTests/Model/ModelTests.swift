import NIOCore
import Testing

@testable import QpidProton

/// Random schedules of all that an application and a peer can do, against a model of what must come of them.
///
/// Each failure tells the environment with which the same schedule runs again.
@Suite(.deadline(minutes: 10))
struct ModelTests {
    @Test(arguments: ModelCase.all)
    func theInvariantsHold(run: ModelCase) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 4_096
        configuration.idleTimeout = nil
        // Bytes are held back for as long as the schedule likes.
        configuration.operationTimeout = .seconds(3_600)
        configuration.stallWarning = .seconds(1)
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.maxFrameSize = 4_096
            script.sessionCapacity = 32_768
            return script
        }
        try await withPeer(configuration: configuration, script) { connection, peer in
            let world = ModelWorld(peer, connection, seed: run.seed)
            do {
                try await world.run(steps: run.steps)
            } catch let failure as ModelFailure {
                Issue.record("\(run): \(failure)\n\(world.trace)")
                try? await world.giveUp()
            }
        }
    }
}

extension ModelWorld {
    fileprivate func run(steps: Int) async throws {
        try await self.perform { $0.hook() }
        for _ in 0..<12 { try await self.perform { $0.open() } }
        var left = steps
        while left > 0 {
            // Some steps are done together, and some before all has come of the one before.
            let count = min(left, self.random.chance(25) ? self.random.number(2...5) : 1)
            left -= count
            try await self.perform(settling: self.random.chance(80)) { world in
                for _ in 0..<count { world.step() }
            }
        }
        var rounds = 0
        while try await self.peer.run({ _ in !self.isFinished }), rounds < 400 {
            rounds += 1
            try await self.perform { $0.finish() }
        }
        try await self.perform { $0.checkEnd() }
        try await self.close()
        self.require(self.connection.outgoingBytes == 0, "bytes are left of a connection that is closed")
    }

    /// Ends the calls of a run that has failed.
    fileprivate func giveUp() async throws {
        _ = try await self.peer.run { _ in
            for sender in self.senders { for message in sender.messages { sender.end(message) } }
            for call in self.calls { call.cancel() }
        }
        try await self.close()
    }

    /// Closes the connection: nobody waits any more behind it.
    fileprivate func close() async throws {
        let closing = self.begin("close") { _ in try? await self.connection.close() }
        try await eventually("all calls end") {
            try await self.peer.run { _ in
                self.release()
                self.executor.drain()
                return self.calls.allSatisfy(\.isDone)
            }
        }
        self.require(closing.isDone, "the connection does not close")
        try await self.peer.run { _ in
            self.peer.script = PeerScript()
            self.senders = []
            self.receivers = []
            self.sessions = []
        }
    }
}
