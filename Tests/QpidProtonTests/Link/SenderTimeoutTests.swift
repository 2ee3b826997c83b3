// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// Calls with a time limit of their own.
@Suite(.deadline)
struct SenderTimeoutTests {
    private static let undecided = { @Sendable () -> PeerScript in
        var script = PeerScript.settlingNothing
        script.credit = nil
        return script
    }

    @Test func aMessageWithoutCreditIsWithdrawn() async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            let sending = begin { try await sender.send(AMQPMessage(body: "x"), timeout: .seconds(5)) }
            await peer.settle()
            await peer.advance(by: .seconds(4))
            #expect(!sending.isDone && sender.outgoingBytes > 0)
            await peer.advance(by: .seconds(2))
            let error = await expectError(.timeout) { try await sending.value }
            #expect(error?.fate == .notSent && error?.tracker == nil && error?.isRetryable == true)
            #expect(error?.blockedBy == [.credit])
            #expect(error?.detail == "the message was not settled within 5.0 seconds: the peer granted no credit")
            #expect(sender.outgoingBytes == 0)
            try await peer.run { pn_link_flow($0.links[0], 5) }
            #expect(try await peer.run { $0.received.isEmpty })
        }
    }

    @Test func aMessageOnItsWayIsInDoubtAndCanBeAwaited() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let sending = begin { try await sender.send(AMQPMessage(body: "x"), timeout: .seconds(5)) }
            await peer.settle()
            await peer.advance(by: .seconds(6))
            let error = await expectError(.timeout) { try await sending.value }
            #expect(error?.fate == .inDoubt && error?.blockedBy == [])
            let tracker = try #require(error?.tracker)
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await tracker.outcome() == .accepted)
        }
    }

    @Test func anOutcomeInTimeIsReturned() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            #expect(try await sender.send(AMQPMessage(body: "x"), timeout: .seconds(5)) == .accepted)
            let limited = try await sender.enqueue(AMQPMessage(body: "y"), timeout: .seconds(5))
            #expect(try await limited.outcome() == .accepted)
            // No timer is left behind.
            await peer.advance(by: .seconds(10))
            #expect(sender.error == nil)
        }
    }

    @Test func aSendWithoutRoomTimesOut() async throws {
        try await withSession(session: .init(sendLimit: .init(high: 100)), Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await sender.enqueue(encoded: payload(100))
            let waiting = begin { try await sender.enqueue(encoded: payload(50), timeout: .seconds(3)) }
            await peer.settle()
            #expect(!waiting.isDone)
            await peer.advance(by: .seconds(4))
            let error = await expectError(.timeout) { try await waiting.value }
            #expect(error?.fate == .notSent && session.outgoingBytes == 100)
            #expect(error?.blockedBy == [.sessionLimit, .credit])
        }
    }

    /// If the task is cancelled before the limit, the call throws the cancellation. If the link ends before the limit,
    /// the call throws the error of the link.
    @Test func earlierErrorsTakePrecedence() async throws {
        try await withSession(Self.undecided) { session, peer in
            let sender = try await session.openSender(to: "q")
            let cancelled = begin { try await sender.send(AMQPMessage(body: "x"), timeout: .seconds(5)) }
            await peer.settle()
            cancelled.cancel()
            await expectError(.cancelled) { try await cancelled.value }
            let ended = begin { try await sender.send(AMQPMessage(body: "x"), timeout: .seconds(5)) }
            await peer.settle()
            try await peer.run { pn_link_close($0.links[0]) }
            await expectError(.closed) { try await ended.value }
        }
    }

    @Test func openingHasALimitOfItsOwn() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        try await withSession(configuration: configuration) { session, peer in
            try await peer.run { peer in
                peer.toPeer.allowance = 0
                peer.toLibrary.allowance = 0
            }
            let calls = [
                begin { _ = try await session.connection.openSession(timeout: .seconds(3)) },
                begin { _ = try await session.openSender(to: "q", timeout: .seconds(3)) },
                begin { _ = try await session.openReceiver(from: "q", timeout: .seconds(3)) },
            ]
            await peer.settle()
            await peer.advance(by: .seconds(2))
            #expect(calls.allSatisfy { !$0.isDone })
            await peer.advance(by: .seconds(2))
            for call in calls {
                let error = await expectError(.timeout) { try await call.value }
                #expect(error?.detail.contains("within 3.0 seconds") == true)
            }
        }
    }

    /// An opening that is cancelled before the loop has seen it leaves nothing open.
    @Test func cancelledOpeningsLeaveNothingBehind() async throws {
        try await withSession { session, peer in
            for _ in 0..<20 {
                let calls = [
                    begin {
                        self.cancelThisTask()
                        // The answer may arrive before the wait begins.
                        await (try await session.connection.openSession()).close()
                    },
                    begin {
                        self.cancelThisTask()
                        await (try await session.openSender(to: "q")).close()
                    },
                ]
                for call in calls {
                    do { try await call.value } catch let error as AMQPError { #expect(error.condition == .cancelled) }
                }
            }
            await peer.settle()
            try await eventually("the ends") {
                await peer.settle()
                let snapshot = try await session.connection.snapshot()
                return snapshot.sessions.count == 1 && snapshot.links.isEmpty
            }
        }
    }

    private func cancelThisTask() { withUnsafeCurrentTask { $0?.cancel() } }
}
