// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Abandoned messages whose abort cannot be sent, because the abort is itself a transfer.
@Suite(.deadline(minutes: 5))
struct SenderAbortTests {
    /// The obstacle that keeps the abort from leaving.
    enum Hindrance: CaseIterable { case window, credit }

    /// The reason why the message is abandoned.
    enum Cause: CaseIterable { case body, cancellation, peer }

    /// The call that ends the link.
    enum Ending: CaseIterable { case close, detach, flush, sessionFlush, connectionFlush }

    private static let session: @Sendable () -> PeerScript = {
        var script = PeerScript(credit: nil)
        script.sessionCapacity = 131_072
        script.takesMessages = false
        return script
    }

    /// Begins a message, and keeps the rest of it from leaving.
    private func hinder(
        _ hindrance: Hindrance,
        _ sender: AMQPSender,
        _ peer: InMemoryPeer
    ) async throws -> (body: FedBody, stream: Begun<AMQPOutcome>) {
        try await peer.run { pn_link_flow($0.links[0], 5) }
        let fed = FedBody()
        let stream = begin { try await sender.stream(body: fed) }
        fed.feed(payload(30_000))
        try await eventually("it has begun to arrive") {
            try await peer.run { pn_session_incoming_bytes($0.sessions[0]) } >= 30_000
        }
        switch hindrance {
        case .window:
            for _ in 0..<4 { fed.feed(payload(60_000)) }
            try await eventually("the window is closed") {
                try await sender.session.snapshot().remoteIncomingWindow <= 0
            }
        case .credit:
            try await peer.run { pn_link_flow($0.links[0], -5) }
            fed.feed(payload(1_000))
            try await eventually("it waits for credit") { sender.credit == 0 && sender.outgoingBytes >= 1_000 }
        }
        return (fed, stream)
    }

    private func giveUp(
        _ cause: Cause,
        _ made: (body: FedBody, stream: Begun<AMQPOutcome>),
        _ peer: InMemoryPeer
    ) async throws {
        switch cause {
        case .body:
            made.body.end(FedBody.Broken())
            await #expect(throws: FedBody.Broken.self) { try await made.stream.value }
        case .cancellation:
            made.stream.cancel()
            await expectError(.cancelled) { try await made.stream.value }
        case .peer:
            try await peer.run { peer in
                if let current = pn_link_current(peer.links[0]) { pn_delivery_update(current, UInt64(PN_REJECTED)) }
            }
            made.body.end()
            #expect(try await made.stream.value == .rejected(nil))
        }
    }

    /// Lets the peer read the received messages.
    private func open(_ peer: InMemoryPeer) async throws {
        try await peer.run { peer in
            peer.script.takesMessages = true
            for link in peer.links where InMemoryPeer.isOpen(link) { peer.receive(link) }
        }
    }

    @Test(arguments: Hindrance.allCases, Cause.allCases)
    func theLinkClosesWithoutWaiting(hindrance: Hindrance, cause: Cause) async throws {
        try await withSession(Self.session) { session, peer in
            let sender = try await session.openSender(to: "q")
            let made = try await self.hinder(hindrance, sender, peer)
            try await self.giveUp(cause, made, peer)
            #expect(sender.outgoingBytes == 0)
            let next = try sender.trySend(AMQPMessage(body: "next"))
            // The clock does not advance, so no timeout can end the close.
            try await begin { try await sender.close().check() }.value
            await expectError(.closed) { try await next.outcome() }
            #expect(session.outgoingBytes == 0)
            #expect(try await peer.count(.detach) == 1)
            #expect(try await peer.run { pn_link_state($0.links[0]) & PN_REMOTE_CLOSED } != 0)
        }
    }

    @Test(arguments: Hindrance.allCases, Ending.allCases)
    func everyEndingIsPrompt(hindrance: Hindrance, ending: Ending) async throws {
        try await withPeer(Self.session) { connection, peer in
            let session = try await connection.openSession()
            let sender = try await session.openSender(to: "q")
            let made = try await self.hinder(hindrance, sender, peer)
            try await self.giveUp(.body, made, peer)
            let limit = Duration.seconds(3_600)
            let rest = try await begin {
                switch ending {
                case .close: await sender.close()
                case .detach: await sender.detach()
                case .flush: await sender.close(within: limit)
                case .sessionFlush: await session.close(within: limit)
                case .connectionFlush: await connection.close(within: limit)
                }
            }.value
            #expect(rest.isComplete, "\(rest)")
            #expect(connection.outgoingBytes == 0)
        }
    }

    /// A flush waits for the other messages of the link, and reports the unfinished ones.
    @Test func aFlushReportsTheOtherMessages() async throws {
        try await withSession(Self.session) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[0], 1) }
            let sent = try sender.trySend(AMQPMessage(body: "first"))
            let made = try await self.hinder(.window, sender, peer)
            try await self.giveUp(.body, made, peer)
            let unsent = try sender.trySend(AMQPMessage(body: "second"))
            let rest = try await begin { await sender.close(within: .zero) }.value
            #expect(rest.unsent.map(\.tracker) == [unsent])
            #expect(rest.unfinished.first?.inDoubt == [sent])
            #expect(session.outgoingBytes == 0)
        }
    }

    /// The partial message at the peer never becomes complete, and its session continues.
    @Test func theSessionContinues() async throws {
        try await withSession(Self.session) { session, peer in
            let sender = try await session.openSender(to: "q")
            let other = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[1], 5) }
            let made = try await self.hinder(.window, sender, peer)
            try await self.giveUp(.cancellation, made, peer)
            try await begin { try await sender.close().check() }.value
            let outcome = begin { try await other.send(AMQPMessage(body: "next")) }
            await peer.settle()
            #expect(!outcome.isDone)
            // The peer has only the bytes of the partial message.
            try await peer.run { peer in
                peer.cleansFrames = true
                peer.script.takesMessages = true
                peer.receive(peer.links[0])
            }
            #expect(try await outcome.value == .accepted)
            #expect(try await peer.run { $0.received.map(\.link) } == [other.name])
            #expect(try await peer.run { $0.partial.count } == 1)
            #expect(session.outgoingBytes == 0)
        }
    }

    /// The abort leaves as soon as possible, ahead of the messages behind it.
    @Test(arguments: Hindrance.allCases, Cause.allCases)
    func theAbortLeavesFirst(hindrance: Hindrance, cause: Cause) async throws {
        try await withSession(Self.session) { session, peer in
            let sender = try await session.openSender(to: "q")
            let made = try await self.hinder(hindrance, sender, peer)
            try await self.giveUp(cause, made, peer)
            let next = begin { try await sender.send(AMQPMessage(body: "next")) }
            await peer.settle()
            #expect(!next.isDone)
            switch hindrance {
            case .window: try await self.open(peer)
            case .credit:
                try await self.open(peer)
                #expect(try await peer.run { $0.received.isEmpty })
                // One credit for the abandoned message.
                try await peer.run { pn_link_flow($0.links[0], 1) }
                #expect(try await peer.run { $0.received.map(\.isAborted) } == [true])
                #expect(sender.credit == 0)
                try await peer.run { pn_link_flow($0.links[0], 3) }
            }
            #expect(try await next.value == .accepted)
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true, false])
            await peer.settle()
            #expect(try await peer.run { Int(pn_link_credit($0.links[0])) } == sender.credit)
            #expect(session.outgoingBytes == 0)
        }
    }

    /// An abort uses one transfer of the window, so one transfer less remains for the messages after it.
    @Test func anAbortCountsInTheWindow() async throws {
        try await withSession(Self.session) { session, peer in
            let sender = try await session.openSender(to: "q")
            let other = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[1], 5) }
            let made = try await self.hinder(.window, sender, peer)
            try await self.giveUp(.body, made, peer)
            let transfers = (1...3).map { number in begin { try await other.send(AMQPMessage(body: "\(number)")) } }
            let next = try await session.snapshot().nextOutgoingID
            // The peer has not sent this flow itself, so it must not see the consequences.
            try await peer.run { $0.toPeer.allowance = 0 }
            for room in [UInt32(1), 2] {
                try await peer.run { peer in
                    try peer.inject(Frame(.flow, [.uint(next), .uint(room), .uint(0), .uint(100)]))
                }
                await peer.settle()
                let state = try await session.snapshot()
                #expect(state.nextOutgoingID == next &+ room)
                #expect(state.protonOutgoingBytes == 0)
            }
            try await self.open(peer)
            try await peer.run { $0.toPeer.allowance = nil }
            for transfer in transfers { #expect(try await transfer.value == .accepted) }
        }
    }
}
