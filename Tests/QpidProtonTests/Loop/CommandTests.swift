// SPDX-License-Identifier: Apache-2.0

import CProton
import Testing

@testable import QpidProton

/// Commands find their session or link by a key. The key of a freed object finds nothing.
struct CommandTests {
    @Test func aReceiverThatHasEndedAnswersWithTheCauseOfItsEnd() async throws {
        try await withSession { session, _ in
            let receiver = try await session.openReceiver(from: "q", window: .manual)
            await receiver.close()
            for call in [
                { _ = try await receiver.drain(timeout: .seconds(1)) }, { try await receiver.pause() },
            ] as [() async throws -> Void] {
                let error = await #expect(throws: AMQPError.self) { try await call() }
                #expect(error?.condition == .closed && error?.origin == .local)
                #expect(error?.detail == "this side closed the link \(receiver.name)")
            }
            receiver.resume()
            receiver.grant(credit: 1)
            #expect(await receiver.close(within: .seconds(5)).error == nil)
        }
    }

    @Test func endedLinksKeepTheirLastFigures() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            try await sender.send(AMQPMessage(body: "x"))
            let before = try await sender.snapshot()
            try await peer.run { peer in
                pn_condition_set_name(pn_link_condition(peer.links[0]), "amqp:not-found")
                pn_link_close(peer.links[0])
            }
            await peer.settle()
            #expect(sender.error?.condition == .notFound)
            let after = try await sender.snapshot()
            #expect(after.name == before.name && after.bytes.peak == before.bytes.peak && after.isSender)
            #expect(await sender.close(within: .seconds(5)).unfinished.isEmpty)
            await session.connection.close()
            #expect(try await sender.snapshot().bytes.peak == before.bytes.peak)
            #expect(try await session.snapshot().outgoing.peak == before.bytes.peak)
        }
    }

    @Test func aSessionThatHasEndedAnswersWithTheCauseOfItsEnd() async throws {
        try await withSession { session, _ in
            await session.close()
            for call in [
                { _ = try await session.openSender(to: "q") }, { _ = try await session.openReceiver(from: "q") },
            ] as [() async throws -> Void] {
                let error = await #expect(throws: AMQPError.self) { try await call() }
                #expect(error?.scope == .session && error?.condition == .closed)
            }
        }
    }

    /// The slot of the first link is used again under another key.
    @Test func aCommandForAnEndedLinkDoesNotReachTheNextOne() async throws {
        try await withSession { session, _ in
            let first = try await session.openReceiver(from: "q", window: .manual)
            await first.close()
            let second = try await session.openReceiver(from: "q", window: .manual)
            #expect(first.core.status.key.link != second.core.status.key.link)
            first.grant(credit: 5)
            _ = try await session.snapshot()
            #expect(second.credit == 0)
        }
    }
}
