// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Sending: the peer's window, and serial numbers that wrap.
@Suite(.deadline)
struct SendingWindowRows {
    /// A peer that shrinks its window below the transfers in flight stops the session until it opens the window again.
    @Test("The remote window is signed")
    func remoteWindowIsSigned() async throws {
        try await withSession({ PeerScript(credit: 1_000) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<10 { try sender.trySend(encoded: payload(10)) }
            await peer.settle()
            #expect(try await peer.count(.transfer) == 10)
            // The peer has seen one transfer and accepts two more from there, so the window is minus seven.
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 1, window: 2)) }
            let transfers = try (0..<20).map { _ in try sender.trySend(encoded: payload(10)) }
            await peer.settle()
            #expect(try await peer.count(.transfer) == 10)
            #expect(try await peer.run { $0.unsettledOfLibrary } == 0)
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 10, window: 0)) }
            #expect(try await peer.count(.transfer) == 10)
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 10, window: 5)) }
            #expect(try await peer.count(.transfer) == 15)
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 15, window: 100)) }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
        }
    }

    /// Ids and counts that begin just before 2³² wrap correctly, as with RabbitMQ 4.
    @Test("Ids and counts are serial numbers")
    func idsAreSerialNumbers() async throws {
        try await withWrappingBroker(handle: 0, window: .messages(4)) { session, receiver, peer in
            var id: UInt32 = 0xFFFF_FFFC
            for round in 0..<20 {
                let next = id
                try await peer.run {
                    try $0.inject(.transfer(handle: 0, id: next, tag: [UInt8(round)], payload: payload(round)))
                }
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload == payload(round))
                delivery.accept()
                id &+= 1
            }
            await peer.settle()
            #expect(session.connection.error == nil && receiver.error == nil)
            let frames = try await peer.framesOfLibrary()
            #expect(frames.filter { $0.code == .disposition }.map { $0.field(1) }.last == .uint(15))
            let flow = try #require(frames.last { $0.code == .flow })
            // Two of four places were free after the last message but one, whose count is 2³² + 14.
            #expect(flow.field(0) == .uint(16) && flow.field(5) == .uint(15) && flow.field(6) == .uint(4))
        }
    }

    /// The library reads a flow without a link, for which Proton raises no event.
    @Test("A flow without a link is read", .tags(.p49))
    func p49_aFlowOfTheSessionIsSeen() async throws {
        try await withSession({ PeerScript(credit: 1_000) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 0, window: 0)) }
            let transfer = try sender.trySend(encoded: payload(10))
            await peer.settle()
            #expect(try await peer.count(.transfer) == 0)
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 0, window: 1)) }
            #expect(try await transfer.outcome() == .accepted)
        }
    }
}

extension Frame {
    /// Returns a flow of the session without a link.
    static func sessionFlow(nextIncomingID: UInt32, window: UInt32) -> Frame {
        Frame(.flow, [.uint(nextIncomingID), .uint(window), .uint(0), .uint(1_000)])
    }

    /// Returns a flow of the link that the peer has attached with handle 0 as its receiver.
    static func linkFlow(
        nextIncomingID: UInt32,
        window: UInt32,
        deliveryCount: UInt32 = 0,
        credit: UInt32
    ) -> Frame {
        Frame(
            .flow,
            [
                .uint(nextIncomingID), .uint(window), .uint(0), .uint(1_000), .uint(0), .uint(deliveryCount),
                .uint(credit),
            ]
        )
    }
}
