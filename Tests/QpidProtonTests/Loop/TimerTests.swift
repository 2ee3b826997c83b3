// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import NIOEmbedded
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// Heartbeats, idle timeouts and deadlines, on the clock of the testing loop.
@Suite(.deadline)
struct TimerTests {
    private func configuration(idle: Duration?, operation: Duration = .seconds(30)) -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = idle
        configuration.operationTimeout = operation
        return configuration
    }

    /// A loop dequeues all due work at once. Work that an earlier piece cancels must not run, because it may use freed
    /// objects.
    @Test func workThatIsCancelledByOtherWorkOfTheSameTimeDoesNotRun() async throws {
        try await withPeer { _, peer in
            let ran = Mutex<[Int]>([])
            try await peer.run { peer in
                let handler = peer.handler
                let due = handler.deadline(in: .milliseconds(1))
                var timers: [LoopTimer] = []
                for number in 0..<3 {
                    timers.append(
                        LoopTimer(of: handler, at: due) {
                            ran.withLock { $0.append(number) }
                            for timer in timers { timer.cancel() }
                        }
                    )
                }
            }
            await peer.advance(by: .milliseconds(2))
            #expect(ran.withLock { $0.count } == 1)
        }
    }

    /// Half of this idle timeout rounds to zero, so heartbeats would never stop.
    @Test func anIdleTimeoutOfAMillisecondIsRefused() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            // Proton announces half of this value.
            script.idleTimeout = 2
            return script
        }
        await expectError(.invalidField) {
            try await withPeer(configuration: self.configuration(idle: nil), script) { _, _ in }
        }
    }

    @Test func heartbeatsThatAreNotReadDoNotPileUp() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.idleTimeout = 20
            return script
        }
        try await withPeer(configuration: self.configuration(idle: nil), script) { connection, peer in
            try await peer.run { $0.toPeer.allowance = 0 }
            await peer.advance(by: .seconds(1), steps: 50)
            #expect(try await peer.run { $0.wire.flushedBytes } == 8)
            // Heartbeats resume when the peer reads again.
            try await peer.run { $0.toPeer.allowance = nil }
            let before = try await peer.run { $0.toPeer.record.readableBytes }
            await peer.advance(by: .seconds(1), steps: 200)
            #expect(try await peer.run { $0.toPeer.record.readableBytes } >= before + 8 * 100)
            #expect(connection.error == nil)
        }
    }

    @Test func anUnansweredOpeningEnds() async throws {
        let configuration = self.configuration(idle: nil, operation: .seconds(5))
        try await withPeer(configuration: configuration, { .answeredByHand }) { connection, peer in
            let session = begin { try await connection.openSession() }
            await peer.settle()
            await peer.advance(by: .seconds(6))
            await expectError(.timeout) { try await session.value }
            try await peer.run { $0.script.opensSessions = true }
            // The late answer to the first `begin` has no effect.
            try await peer.run { pn_session_open($0.sessions[0]) }
            #expect(connection.error == nil)
            let opening = begin { try await connection.openSession() }
            let open = try await opening.value
            let sender = begin { try await open.openSender(to: "q") }
            let receiver = begin { try await open.openReceiver(from: "q") }
            await peer.settle()
            await peer.advance(by: .seconds(6))
            await expectError(.timeout) { try await sender.value }
            await expectError(.timeout) { try await receiver.value }
            #expect(try await peer.count(.detach) == 2)
            #expect(connection.error == nil)
        }
    }

    @Test func anUnansweredCloseEnds() async throws {
        let configuration = self.configuration(idle: nil, operation: .seconds(5))
        try await withSession(configuration: configuration) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.script.closes = false }
            let detaching = begin { try await sender.close().check() }
            let ending = begin { try await session.close().check() }
            await peer.settle()
            await peer.advance(by: .seconds(6))
            await expectError(.timeout) { try await detaching.value }
            await expectError(.timeout) { try await ending.value }
            let closing = begin { try await session.connection.close().check() }
            await peer.settle()
            await peer.advance(by: .seconds(6))
            await expectError(.timeout) { try await closing.value }
            #expect(try await peer.run { $0.wire.isClosed })
        }
    }

    /// A peer that closes and then stops reading must not keep the socket open forever.
    @Test func aClosingPeerThatStopsReadingLosesItsSocket() async throws {
        let configuration = self.configuration(idle: nil, operation: .seconds(5))
        try await withPeer(configuration: configuration) { connection, peer in
            try await peer.run {
                $0.toPeer.allowance = 0
                pn_connection_close($0.connection)
            }
            #expect(connection.error != nil)
            let closing = begin { try await connection.close().check() }
            await peer.advance(by: .seconds(6))
            do { try await closing.value } catch let error as DeadlineMissed { throw error } catch {}
            #expect(try await peer.run { $0.wire.isClosed })
        }
    }

    /// A peer that stops reading after an error must not keep the socket open forever.
    @Test func aFailedPeerThatStopsReadingLosesItsSocket() async throws {
        let configuration = self.configuration(idle: nil, operation: .seconds(5))
        try await withPeer(configuration: configuration) { connection, peer in
            try await peer.run {
                $0.toPeer.allowance = 0
                $0.inject(ByteBuffer(bytes: [0, 0, 0, 3, 2, 0, 0, 0]))
            }
            #expect(connection.error?.condition == .connectionFramingError)
            await peer.advance(by: .seconds(6))
            #expect(try await peer.run { $0.wire.isClosed })
        }
    }
}
