// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// Cancelling, closing and losing the connection while sending. Each tracker is answered exactly once, with the fate of
/// its message.
@Suite(.deadline)
struct SenderEndingTests {
    /// Records the answers of each tracker.
    final class Answers: Sendable {
        private let state = Mutex<[Int: [Result<AMQPOutcome, AMQPError>]]>([:])

        func watch(_ transfers: [AMQPTracker]) {
            for (index, transfer) in transfers.enumerated() {
                transfer.whenSettled { answer in self.state.withLock { $0[index, default: []].append(answer) } }
            }
        }

        var count: Int { self.state.withLock { $0.count } }
        subscript(index: Int) -> [Result<AMQPOutcome, AMQPError>] { self.state.withLock { $0[index] ?? [] } }

        func error(_ index: Int) -> AMQPError? {
            if self[index].count == 1, case .failure(let error)? = self[index].first { return error }
            return nil
        }
    }

    /// Returns the fate of the message of a cancelled task.
    private func fate(_ task: Begun<some Sendable>) async -> AMQPError.Fate? {
        do {
            _ = try await task.value
            return nil
        } catch {
            let error = error as? AMQPError
            #expect(error?.condition == .cancelled && error?.scope == .call)
            #expect((error?.tracker != nil) == (error?.fate == .inDoubt))
            return error?.fate
        }
    }

    @Test func cancellingASendThatWaitsForRoom() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 100))
        try await withSession(session: session, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let first = try sender.trySend(encoded: payload(100))
            let waiting = begin { try await sender.enqueue(encoded: payload(50)) }
            let behind = begin { try await sender.enqueue(encoded: payload(20)) }
            waiting.cancel()
            #expect(await self.fate(waiting) == .notSent)
            try await peer.run { pn_link_flow($0.links[0], 10) }
            #expect(try await first.outcome() == .accepted)
            #expect(try await behind.value.outcome() == .accepted)
            #expect(try await peer.run { $0.received.map(\.bytes.readableBytes) } == [100, 20])
        }
    }

    /// The link ends while its message is in the outbox. The error of the message names the cause.
    @Test func aMessageSubmittedDuringTheEndReportsItsCause() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let answers = Answers()
            try await peer.run { peer in
                if let transfer = try? sender.trySend(encoded: payload(1)) { answers.watch([transfer]) }
                let cause = AMQPError(scope: .link, condition: .resourceDeleted, detail: "the queue is gone")
                peer.handler.sessions.sender(sender.core.status)?.close(cause)
            }
            await peer.settle()
            let error = try #require(answers.error(0))
            #expect(error.condition == .resourceDeleted && error.fate == .notSent)
            #expect(error.detail.contains("the queue is gone"))
            let later = await #expect(throws: AMQPError.self) { _ = try await sender.enqueue(encoded: payload(2)) }
            #expect(later?.condition == .resourceDeleted && later?.fate == .notSent)
            #expect(sender.outbox.ledger(sender.node) == nil)
        }
    }

    @Test func cancellingASendThatIsQueued() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let message = AMQPMessage(body: "queued")
            let queued = begin { try await sender.send(message) }
            let behind = try sender.trySend(encoded: payload(20))
            await peer.settle()
            queued.cancel()
            #expect(await self.fate(queued) == .notSent)
            #expect(session.outgoingBytes == 20)
            try await peer.run { pn_link_flow($0.links[0], 10) }
            #expect(try await behind.outcome() == .accepted)
            #expect(try await peer.run { $0.received.count } == 1)
        }
    }

    @Test func cancellingASendThatIsSent() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let sent = begin { try await sender.send(AMQPMessage(body: "sent")) }
            await peer.settle()
            #expect(try await peer.run { $0.received.count } == 1)
            sent.cancel()
            #expect(await self.fate(sent) == .inDoubt)
            // The peer's decision arrives late and has no effect.
            try await peer.run { peer in
                peer.settleAll(PN_ACCEPTED)
                peer.script.onMessage = { _, _ in .accept }
            }
            #expect(try await sender.send(AMQPMessage(body: "next")) == .accepted)
        }
    }

    /// A cancelled task does not lose the sent message, because its error has the tracker.
    @Test func theOutcomeOfACancelledSendCanBeAwaited() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let sent = begin { try await sender.send(AMQPMessage(body: "sent")) }
            await peer.settle()
            sent.cancel()
            let error = await expectError(.cancelled) { try await sent.value }
            #expect(error?.scope == .call)
            let transfer = try #require(error?.tracker)
            #expect(transfer.result == nil)
            let outcome = begin { try await transfer.outcome() }
            try await peer.run { $0.settleAll(PN_RELEASED) }
            #expect(try await outcome.value == .released)
        }
    }

    @Test func cancellingInTheMiddleOfAMessageLeavesItWhole() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            let large = begin { try await sender.send(AMQPMessage(body: payload(900_000))) }
            await peer.settle()
            large.cancel()
            #expect(await self.fate(large) == .inDoubt)
            let next = try sender.trySend(encoded: payload(5))
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await next.outcome() == .accepted)
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [false, false])
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func cancelledTasksFailAtOnce() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 100))
        try await withSession(session: session, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try sender.trySend(encoded: payload(100))
            let task = begin {
                while !Task.isCancelled { await Task.yield() }
                return try await sender.enqueue(encoded: payload(10))
            }
            task.cancel()
            #expect(await self.fate(task) == .notSent)
            #expect(session.outgoingBytes == 100)
        }
    }

    @Test func thePeerDetachesInTheMiddleOfAMessage() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let answers = Answers()
            try await peer.run { $0.toPeer.allowance = 300_000 }
            let transfers = try [700_000, 10].map { try sender.trySend(encoded: payload($0)) }
            answers.watch(transfers)
            await peer.settle()
            let waiting = begin { try await sender.enqueue(encoded: payload(900_000)) }
            try await peer.run { peer in
                let condition = pn_link_condition(peer.links[0])
                pn_condition_set_name(condition, "amqp:resource-deleted")
                pn_condition_set_description(condition, "the queue is gone")
                pn_link_close(peer.links[0])
            }
            #expect(answers.count == 2)
            #expect(answers.error(0)?.condition == .resourceDeleted)
            #expect(answers.error(0)?.fate == .aborted)
            #expect(answers.error(0)?.origin == .peer)
            #expect(answers.error(1)?.condition == .resourceDeleted)
            #expect(answers.error(1)?.fate == .notSent)
            await expectError(.resourceDeleted) { try await waiting.value }
            #expect(sender.error?.condition == .resourceDeleted)
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(session.outgoingBytes == 0)
            // The truncated message harms neither the session nor the peer's other links.
            let other = try await session.openSender(to: "other")
            #expect(try await other.send(AMQPMessage(body: "x")) == .accepted)
        }
    }

    @Test(arguments: [false, true])
    func theConnectionEndsInTheMiddleOfSending(byClose: Bool) async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let answers = Answers()
            try await peer.run { $0.toPeer.allowance = 300_000 }
            let transfers = try [700_000, 10].map { try sender.trySend(encoded: payload($0)) }
            answers.watch(transfers)
            await peer.settle()
            let waiting = begin { try await sender.enqueue(encoded: payload(900_000)) }
            let opening = begin { try await session.openSender(to: "other") }
            if byClose {
                try await peer.run { peer in
                    pn_condition_set_name(pn_connection_condition(peer.connection), "amqp:connection:forced")
                    pn_connection_close(peer.connection)
                }
            } else {
                try await peer.loseConnection()
            }
            let condition: AMQPCondition = byClose ? .connectionForced : .connectionLost
            await expectError(condition) { try await waiting.value }
            await expectError(condition) { try await opening.value }
            #expect(answers.count == 2)
            #expect(answers.error(0)?.condition == condition)
            #expect(answers.error(0)?.fate == .aborted)
            #expect(answers.error(1)?.condition == condition)
            #expect(answers.error(1)?.fate == .notSent)
            #expect(session.outgoingBytes == 0)
            let refused = await expectError(condition) { try await sender.enqueue(encoded: payload(1)) }
            let stream = AsyncStream<ByteBuffer> { $0.finish() }
            let refusedStream = await expectError(condition) { try await sender.stream(body: stream) }
            #expect(refused?.fate == .notSent && refusedStream?.fate == .notSent)
            await expectError(condition) { try await sender.waitUntilClosed() }
            await expectError(condition) { try await session.waitUntilClosed() }
            await expectError(condition) { try await session.connection.openSession() }
        }
    }

    @Test func aSettledMessageThatWasNeverWrittenIsNotDone() async throws {
        try await withSession { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .settled
            let sender = try await session.openSender(configuration)
            try await peer.run { $0.toPeer.allowance = 0 }
            let transfer = try sender.trySend(encoded: payload(10))
            await peer.settle()
            #expect(transfer.result == nil)
            try await peer.loseConnection()
            let error = await expectError(.connectionLost) { try await transfer.outcome() }
            #expect(error?.scope == .connection)
        }
    }

    /// If the socket is lost during a write, the peer may have received part of its bytes.
    @Test func aSettledMessageThatMayHaveArrivedIsNotReportedUnsent() async throws {
        try await withSession { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .settled
            let sender = try await session.openSender(configuration)
            let transfers = try await peer.run { peer in
                peer.toPeer.allowance = 200
                return try [100, 20_000].map { try sender.trySend(encoded: payload($0)) }
            }
            await peer.settle()
            let count = try await peer.run { $0.received.count }
            #expect(count == 1 && transfers.allSatisfy { $0.result == nil })
            try await peer.loseConnection()
            for transfer in transfers {
                let error = await expectError(.connectionLost) { try await transfer.outcome() }
                #expect(error?.fate != .notSent)
            }
        }
    }

    @Test func closingInTheMiddleOfASettledMessageAnswersIt() async throws {
        try await withSession { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .settled
            let sender = try await session.openSender(configuration)
            let answers = Answers()
            try await peer.run { $0.toPeer.allowance = 0 }
            let transfers = try [700_000, 10].map { try sender.trySend(encoded: payload($0)) }
            answers.watch(transfers)
            await peer.settle()
            let closing = begin { try await sender.close().check() }
            await peer.settle()
            #expect(answers.count == 2)
            #expect(answers.error(0)?.fate == .aborted && answers.error(1)?.fate == .notSent)
            try await peer.run { $0.toPeer.allowance = nil }
            try await closing.value
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func theSessionEndsWhileMessagesWait() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .mixed
            let sender = try await session.openSender(configuration)
            let transfers = try [false, true].map { try sender.trySend(encoded: payload(10), settled: $0) }
            let answers = Answers()
            answers.watch(transfers)
            await peer.settle()
            try await session.close(AMQPError(scope: .session, condition: "x:enough", detail: "that will do")).check()
            #expect(answers.count == 2)
            for index in 0..<2 { #expect(answers.error(index)?.fate == .notSent) }
            #expect(session.outgoingBytes == 0)
            let end = try await peer.framesOfLibrary().last { $0.code == .end }
            #expect(end?.field(0).description.contains("x:enough") == true)
            try await session.close().check()
            await expectError("x:enough") { try await session.openSender(to: "q") }
        }
    }

    @Test(arguments: 0..<6)
    func closingFromManyTasksWhileSending(round: Int) async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: 2_000))
        try await withSession(session: session, { PeerScript(credit: 10) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.piece = 700 }
            let (settled, settles) = AsyncStream.makeStream(of: Void.self)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        while true {
                            do throws(AMQPError) {
                                try await sender.send(AMQPMessage(body: payload(300)))
                                settles.yield()
                            } catch {
                                return
                            }
                        }
                    }
                }
                // The test counts settlements instead of asking the peer. The peer's loop runs all pending work first,
                // and here that never ends.
                for await _ in settled.prefix(21) {}
                for index in 0..<6 {
                    group.addTask {
                        switch (round + index) % 4 {
                        case 0: await sender.close()
                        case 1: await sender.detach()
                        case 2: await session.close()
                        default: await session.connection.close()
                        }
                    }
                }
            }
            #expect(sender.error != nil)
            #expect(session.outgoingBytes == 0)
            await sender.close()
            await session.close()
            try await session.connection.close().check()
            try await session.connection.close().check()
        }
    }
}
