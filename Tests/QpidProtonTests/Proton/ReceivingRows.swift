// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Proton's behaviour when it receives, and the limits that still hold: the window and the bytes.
@Suite(.deadline)
struct ReceivingRows {
    /// Sends messages on the peer's end of the library's first link.
    private func send(_ peer: InMemoryPeer, _ messages: [ByteBuffer], settled: Bool = false) async throws {
        try await peer.run { peer in
            for message in messages { peer.send(message, on: peer.links[0], settled: settled) }
        }
    }

    /// Runs `body` with a session whose window is 16 frames of 1 KiB.
    private func withSmallSession(_ body: (AMQPSession, InMemoryPeer) async throws -> Void) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 1_024
        try await withSession(configuration: configuration, session: .init(incomingCapacity: 16_384)) { session, peer in
            try await body(session, peer)
        }
    }

    /// The session always has a window: max-frame-size is always advertised, and a capacity that is too small is
    /// refused at once.
    @Test("A capacity that cannot be used is refused", .tags(.p13))
    func p13_capacitiesThatCannotBeUsed() async throws {
        try await withPeer { connection, peer in
            let small = AMQPSession.Configuration(incomingCapacity: .bytes(2 * 65_536 - 1))
            await expectError(.invalidArgument) { try await connection.openSession(small) }
            await peer.settle()
            #expect(try await peer.count(.begin) == 0)
            _ = try await connection.openSession(.init(incomingCapacity: .bytes(3 * 65_536)))
            // Without a max-frame-size the window would have no limit.
            let frames = try await peer.framesOfLibrary()
            #expect(frames[0].field(2) == .uint(65_536))
            #expect(frames[1].field(2) == .uint(3))
        }
    }

    private static func window(_ flow: Frame) -> Int {
        if case .uint(let window) = flow.field(1) { Int(window) } else { 0 }
    }

    /// The window is advertised again at every quarter, for small messages and for one large message, so that no round
    /// trip is idle.
    @Test("The window is renewed each quarter", .tags(.p43, .p46), arguments: [false, true])
    func p43_theWindowIsRenewedEachQuarter(isLarge: Bool) async throws {
        try await self.withSmallSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(1_000))
            defer { withExtendedLifetime(receiver) {} }
            let before = try await peer.count(.flow)
            // The peer sends 12 of 16 frames or a little more, and at most 4 of them in one read.
            try await peer.run { $0.toLibrary.piece = isLarge ? 4_000 : 400 }
            if isLarge {
                try await peer.run { _ = $0.send(payload(11_500), on: $0.links[0], isLast: false) }
            } else {
                try await self.send(peer, (0..<12).map { _ in payload(100) })
            }
            await peer.settle()
            let flows = try await peer.framesOfLibrary().filter { $0.code == .flow }.dropFirst(before)
            #expect(flows.count >= 2)
            // Small transfers leave room for more transfers.
            #expect(flows.allSatisfy { Self.window($0) >= 16 })
            // Each flow names the link, so that a peer that waits for a flow of its own link resumes.
            #expect(flows.allSatisfy { $0.field(4) == .uint(0) })
        }
    }

    /// Every flow of a link carries the session's window, so that a credit top-up keeps the window open.
    @Test("A flow of credit carries a fresh window", .tags(.p43))
    func p43_aFlowOfCreditCarriesAFreshWindow() async throws {
        try await self.withSmallSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(8))
            for _ in 0..<60 {
                try await self.send(peer, [payload(900)])
                try #require(try await receiver.next()).accept()
                await peer.settle()
            }
            let flows = try await peer.framesOfLibrary().filter { $0.code == .flow }
            #expect(flows.allSatisfy { Self.window($0) >= 16 })
            // At most half of the window, 8 transfers, passes without a flow.
            let ids = flows.compactMap { if case .uint(let id) = $0.field(0) { Int(id) } else { nil } }
            #expect(zip(ids, ids.dropFirst() + [60]).allSatisfy { $1 - $0 <= 8 })
        }
    }

    /// The library empties partial deliveries at once, so that a message larger than the session's capacity never
    /// blocks itself.
    @Test("A message larger than the capacity passes", .tags(.p6))
    func p6_aMessageLargerThanTheCapacityPasses() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 1_024
        let session = AMQPSession.Configuration(incomingCapacity: 2_048)
        try await withSession(configuration: configuration, session: session) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await self.send(peer, [payload(1_000_000)])
            #expect(try await receiver.next()?.payload == payload(1_000_000))
        }
    }

    /// The rest of a message that is refused in its middle is read and dropped. The session's window leaks nothing,
    /// even while the peer has not received the refusal.
    @Test("An early refusal leaks no window", .tags(.p3, .p54), arguments: [false, true])
    func p3_anEarlyRefusalLeaksNoWindow(answers: Bool) async throws {
        try await self.withSmallSession { session, peer in
            let other = try await session.openReceiver(from: "b", window: .messages(1_000))
            try await peer.run { $0.script.closes = answers }
            for round in 0..<30 {
                var limited = AMQPReceiver.Configuration(source: "a")
                limited.maxMessageSize = 2_000
                let receiver = try await session.openReceiver(limited)
                // The peer continues to send, more than the window.
                try await peer.run { peer in
                    peer.send(payload(30_000), on: peer.links[1 + round])
                    peer.send(payload(round), on: peer.links[0])
                }
                #expect(receiver.error?.condition == .linkMessageSizeExceeded)
                try #require(try await peer.run { $0.incomingBytes } == 0)
                let delivery = try #require(try await other.next())
                #expect(delivery.payload == payload(round))
                delivery.accept()
            }
            #expect(session.connection.error == nil)
        }
    }

    /// The rest of a message whose receiver the application has closed leaks nothing either.
    @Test("Closing in the middle of a message leaks no window", .tags(.p3, .p54))
    func p54_closingInTheMiddleLeaksNoWindow() async throws {
        try await self.withSmallSession { session, peer in
            let other = try await session.openReceiver(from: "b", window: .messages(1_000))
            for round in 0..<30 {
                let receiver = try await session.openReceiver(from: "a")
                try await peer.run { peer in
                    peer.script.closes = false
                    peer.send(payload(8_000), on: peer.links[1 + round], isLast: false)
                }
                let closing = begin { try await receiver.close().check() }
                await peer.settle()
                // The peer has not received the close, and sends more than the window.
                try await peer.run { _ = $0.send(payload(30_000), on: $0.links[1 + round]) }
                try #require(try await peer.run { $0.incomingBytes } == 0)
                try await peer.run { peer in
                    pn_link_close(peer.links[1 + round])
                    peer.script.closes = true
                }
                try await closing.value
                try await self.send(peer, [payload(5_000 + round)])
                let delivery = try #require(try await other.next())
                #expect(delivery.payload == payload(5_000 + round))
                delivery.accept()
            }
            #expect(session.connection.error == nil)
        }
    }

    /// The capacity is fixed when the session begins. No advertised window exceeds it, whatever is buffered.
    @Test("The capacity is fixed", .tags(.p7))
    func p7_theCapacityIsFixed() async throws {
        try await self.withSmallSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await self.send(peer, (0..<60).map { _ in payload(3_000) })
            #expect(receiver.bufferedBytes == 180_000)
            let frames = try await peer.framesOfLibrary()
            let begin = try #require(frames.first { $0.code == .begin })
            #expect(begin.field(2) == .uint(16))
            let windows = frames.filter { $0.code == .flow }.map { Self.window($0) }
            #expect(windows.count > 10)
            // The last of a message's three frames is smaller than the others.
            #expect(windows.allSatisfy { $0 <= 18 })
        }
    }

    /// A message over max-message-size detaches only its own link, with the right condition, before the message is
    /// complete.
    @Test("An oversized message detaches its link", .tags(.p21))
    func p21_oversizeDetachesThatLink() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 4_096
        let session = AMQPSession.Configuration(incomingCapacity: 16_384)
        try await withSession(configuration: configuration, session: session) { session, peer in
            var limited = AMQPReceiver.Configuration(source: "a")
            limited.maxMessageSize = 10_000
            let receiver = try await session.openReceiver(limited)
            let other = try await session.openReceiver(from: "b")
            try await self.send(peer, [payload(10_000)])
            #expect(try await receiver.next()?.payload.readableBytes == 10_000)
            try await peer.run { peer in
                peer.script.closes = false
                peer.send(payload(500_000), on: peer.links[0])
                for size in 1...100 { peer.send(payload(size * 100), on: peer.links[1]) }
            }
            #expect(receiver.error?.condition == .linkMessageSizeExceeded)
            let detach = try await peer.framesOfLibrary().last { $0.code == .detach }
            #expect(detach?.field(2).description.contains("amqp:link:message-size-exceeded") == true)
            for size in 1...100 {
                let delivery = try #require(try await other.next())
                #expect(delivery.payload.readableBytes == size * 100)
                delivery.accept()
            }
            await expectError(.linkMessageSizeExceeded) { try await receiver.next() }
        }
    }

    /// The bytes that a full receiver leaves in Proton stay within the session's capacity, even if the peer ignores its
    /// window.
    @Test("Proton accepts no more than the session's capacity", .tags(.p50))
    func p50_protonAcceptsNoMoreThanTheCapacity() async throws {
        try await self.withSmallSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .bytes(40_000))
            let most = try await peer.run { peer in
                var most = 0
                for id in UInt32(0)..<4 {
                    for part in 1...44 {
                        let bytes = payload(900)
                        try peer.inject(.transfer(handle: 0, id: id, tag: [1], more: part < 44, payload: bytes))
                        most = max(most, peer.incomingBytes)
                    }
                }
                return most
            }
            #expect(most > 10_000 && most <= 16_384)
            // Messages that can no longer be settled are dropped with the session.
            #expect(receiver.bufferedBytesPeak == 39_600 && receiver.bufferedBytes == 0)
            #expect(session.connection.error?.condition == .sessionWindowViolation)
        }
    }

    /// Proton raises few events for many frames, so the library reads all received messages after each event.
    @Test("All received messages are read", .tags(.p36))
    func p36_allReceivedMessagesAreRead() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await peer.run { $0.toLibrary.allowance = 0 }
            try await self.send(peer, (0..<40).map { payload($0) })
            #expect(receiver.bufferedMessages == 0)
            // Everything arrives in one read.
            try await peer.run { $0.toLibrary.allowance = nil }
            let deliveries = try await receiver.nextBatch(max: 100)
            #expect(deliveries.map(\.payload.readableBytes) == Array(0..<40))
            #expect(try await peer.run { $0.incomingBytes } == 0)
        }
    }

    /// A message that the peer aborts is dropped, and its credit is granted again.
    @Test("Aborted messages free their place", .tags(.p29))
    func p29_abortedMessagesFreeTheirPlace() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(2))
            for round in 0..<10 {
                try await peer.run { peer in
                    let delivery = peer.send(payload(100_000), on: peer.links[0], isLast: false)
                    peer.turn()
                    if let delivery { pn_delivery_abort(delivery) }
                    peer.isBetweenMessages = true
                }
                try await self.send(peer, [payload(10 + round)])
                let delivery = try await receiver.next()
                #expect(delivery?.payload.readableBytes == 10 + round)
                delivery?.accept()
                await peer.settle()
            }
            #expect(receiver.error == nil)
        }
    }
}
