// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Work that waits for bytes to be written continues when the socket accepts them in the same round. Nothing else would
/// wake it.
@Suite(.deadline)
struct WriteRoundTests {
    /// If the write budget is full, an answer to the peer's echo request waits.
    @Test func anAnswerFollowsOnceTheSocketHasTakenAFullBudget() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            defer { withExtendedLifetime(receiver) {} }
            try await peer.run { peer in
                peer.toPeer.allowance = 0
                for _ in 0..<6_000 { try peer.inject(Frame.flow(echo: true)) }
                let full = peer.wire.flushedBytes
                #expect(full >= SocketWriter.budget)
                try peer.inject(Frame.flow(echo: true))
                #expect(peer.wire.flushedBytes == full)
                // From now on the socket accepts everything, starting with the answer to this detach.
                peer.wire.completesOnFlush = true
                peer.isDeaf = true
                try peer.inject(.detach(0))
                // These bytes replace the protocol header in the record.
                peer.toPeer.record = ByteBuffer(bytes: [0, 0, 0, 0, 0, 0, 0, 0])
                peer.toPeer.allowance = nil
            }
            let codes = try await peer.framesOfLibrary().suffix(2).map(\.code)
            #expect(codes == [.detach, .flow])
            #expect(session.connection.error == nil)
        }
    }

    /// A link that closes after its last message closes once that message is written.
    @Test func aLinkClosesOnceItsLastMessageIsWritten() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .settled
            let sender = try await session.openSender(configuration)
            for _ in 0..<3 { _ = try sender.trySend(encoded: payload(100)) }
            let close = begin { await sender.close(within: .seconds(60)) }
            await peer.settle()
            #expect(!close.isDone)
            try await peer.run { peer in
                peer.wire.completesOnFlush = true
                pn_link_flow(peer.links[0], 10)
            }
            await peer.settle()
            let rest = try await close.value
            #expect(rest.isComplete)
            let codes = try await peer.framesOfLibrary().suffix(4).map(\.code)
            #expect(codes == [.transfer, .transfer, .transfer, .detach])
            #expect(session.outgoingBytes == 0)
        }
    }
}
