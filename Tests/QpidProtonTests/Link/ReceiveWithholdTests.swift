// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The last resort: the library stops reading the socket while there is no room for received bytes or pending writes.
@Suite(.deadline)
struct ReceiveWithholdTests {
    private static let count = 80
    private static let size = 16_000

    private static var bounded: (AMQPMemoryBudget, AMQPConnection.Configuration) {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        var configuration = AMQPConnection.Configuration()
        configuration.receiveBudget = budget
        configuration.maxFrameSize = 4_096
        configuration.stallWarning = nil
        return (budget, configuration)
    }

    /// The peer uses credit and windows that were granted for small messages for more large ones than there is room
    /// for.
    private static func overfill(_ receiver: AMQPReceiver, _ peer: InMemoryPeer) async throws {
        for _ in 0..<10 {
            try await peer.run { peer in for _ in 0..<50 { _ = peer.send(payload(1), on: peer.links[0]) } }
            for _ in 0..<50 { try #require(receiver.poll()).accept() }
            await peer.settle()
        }
        try await peer.run { peer in
            for _ in 0..<Self.count { _ = peer.send(payload(Self.size), on: peer.links[0]) }
        }
        await peer.settle()
    }

    private static func isWithheld(_ peer: InMemoryPeer) async throws -> Bool {
        try await peer.run { $0.handler.receiving.isReadingWithheld }
    }

    /// The peer must not count as silent, and reading must resume.
    @Test func bytesWithoutRoomStayInTheSocket() async throws {
        var (budget, configuration) = Self.bounded
        configuration.idleTimeout = .seconds(10)
        try await withSession(configuration: configuration) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(1_000))
            try await Self.overfill(receiver, peer)
            #expect(try await Self.isWithheld(peer))
            #expect(budget.peak.bytes <= 1 << 20)
            #expect(try await session.connection.snapshot().isReadingWithheld)
            await peer.advance(by: .seconds(25), steps: 50)
            #expect(session.connection.error == nil)
            for _ in 0..<Self.count {
                let delivery = try #require(receiver.poll())
                #expect(delivery.payload.readableBytes == Self.size)
                delivery.accept()
                await peer.settle()
            }
            #expect(try await !Self.isWithheld(peer))
            #expect(budget.peak.bytes <= 1 << 20)
        }
        #expect(budget.used == 0)
    }

    /// The bytes without room may contain the frame that a waiting task needs. If nothing is freed within
    /// `operationTimeout`, the largest link is closed.
    @Test func theLargestLinkIsClosedWhenNothingIsFreed() async throws {
        let (budget, configuration) = Self.bounded
        try await withSession(configuration: configuration) { session, peer in
            let large = try await session.openReceiver(from: "large", window: .messages(1_000))
            let small = try await session.openReceiver(from: "small", window: .messages(1))
            try await peer.run { _ = $0.send(payload(1), on: $0.links[1]) }
            try await Self.overfill(large, peer)
            #expect(try await Self.isWithheld(peer))
            await peer.advance(by: .seconds(70), steps: 70)
            #expect(large.error?.condition == .resourceLimitExceeded)
            #expect(small.error == nil && session.error == nil)
            #expect(try await !Self.isWithheld(peer))
            try #require(small.poll()).accept()
            try await peer.run { _ = $0.send(payload(2), on: $0.links[1]) }
            try #require(try await small.next()).accept()
            await peer.settle()
            #expect(budget.used == 0)
        }
    }

    /// Without a budget the capacity of the session limits the bytes in Proton.
    @Test func aSessionHoldsNoMoreThanItsCapacity() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 4_096
        configuration.stallWarning = nil
        let capacity = 128 * 1_024
        try await withSession(
            configuration: configuration,
            session: .init(incomingCapacity: AMQPByteCount(capacity))
        ) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .bytes(.kibibytes(512)))
            try await Self.overfill(receiver, peer)
            #expect(receiver.bufferedBytes.bytes <= 512 * 1_024)
            #expect(try await Self.isWithheld(peer))
            let read = ReceiveBudget.read
            #expect(try await session.snapshot().incoming.peak.bytes <= capacity + read)
            for _ in 0..<Self.count {
                try #require(receiver.poll()).accept()
                await peer.settle()
            }
            #expect(try await !Self.isWithheld(peer))
        }
    }

    /// A peer that sends endlessly but reads no answers is not read either.
    @Test func aPeerThatReadsNoAnswersIsNotRead() async throws {
        try await withSession { session, peer in
            let withheld = try await peer.run { peer in
                peer.toPeer.allowance = 0
                var rounds = 0
                while !peer.handler.receiving.isReadingWithheld, rounds < 20_000 {
                    let fields: [AMQPValue] = [
                        .string("link-\(rounds)"), .uint(9), .bool(true), .ubyte(2), .ubyte(0),
                        .described(0x28, .list([.string("a")])), .described(0x29, .list([.string("a")])),
                    ]
                    try peer.inject(Frame(.attach, fields))
                    try peer.inject(Frame(.detach, [.uint(9), .bool(true)]))
                    rounds += 1
                }
                return rounds
            }
            #expect(withheld > 1_000 && withheld < 20_000)
            #expect(try await peer.run { $0.wire.flushedBytes } < 5 * SocketWriter.budget)
            // Each answer is a small write of its own.
            #expect(try await peer.run { $0.wire.heldBytes } < 20 * SocketWriter.budget)
            #expect(session.connection.error == nil)
            // Once the peer has read the answers, the library reads the peer again.
            try await peer.run { _ = $0.wire.take(.max) }
            await peer.settle()
            #expect(try await !Self.isWithheld(peer))
        }
    }
}
