// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Proton's behaviour when it sends, and the limits that still hold: the bytes, the slices and the credit.
@Suite(.deadline)
struct SendingRows {
    /// Bytes count from their acceptance to the completion of the write, not only until they are framed.
    @Test("Bytes count until they are written", .tags(.p1), arguments: [false, true])
    func p1_bytesCountUntilTheyAreWritten(completesOnFlush: Bool) async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run {
                $0.toPeer.allowance = 0
                $0.wire.completesOnFlush = completesOnFlush
            }
            let transfer = try sender.trySend(encoded: payload(5_000))
            // The loop runs concurrently with this task. If the flush completes the write, the write may be complete by
            // now.
            if !completesOnFlush { #expect(session.outgoingBytes == 5_000) }
            await peer.settle()
            let flushed = try await peer.run { $0.wire.flushedBytes }
            #expect(flushed > 5_000)
            if completesOnFlush {
                #expect(session.outgoingBytes == 0)
            } else {
                #expect(session.outgoingBytes == 5_000)
                try await peer.run { $0.toPeer.allowance = flushed - 1 }
                #expect(session.outgoingBytes == 5_000)
                #expect(sender.outgoingBytes == 5_000)
                #expect(session.connection.outgoingBytes == 5_000)
            }
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(session.outgoingBytes == 0)
            #expect(try await transfer.outcome() == .accepted)
            #expect(session.outgoingBytesPeak == 5_000)
        }
    }

    /// The backlog stays in Swift. Proton and the socket hold no more than the write budget, however many messages
    /// wait.
    @Test("The backlog stays in Swift", .tags(.p60))
    func p60_theBacklogStaysInSwift() async throws {
        let session = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(64)))
        try await withSession(session: session, { PeerScript(credit: 1_000) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run {
                $0.toPeer.allowance = 0
                $0.toPeer.isRecorded = false
            }
            let message = payload(1 << 20)
            let transfers = try (0..<32).map { _ in try sender.trySend(encoded: message) }
            await peer.settle()
            var left = 33 << 20
            while left > 0, session.outgoingBytes > 0 {
                let held = try await peer.run { $0.heldBytes }
                try #require(held <= 262_144)
                try await peer.run { $0.toPeer.allowance = 65_536 }
                left -= 65_536
            }
            try await peer.run { $0.toPeer.allowance = nil }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(try await peer.run { $0.received.count } == 32)
        }
    }

    /// Small writes that complete one after the other must not lead to more small writes.
    @Test func smallWritesDoNotLast() async throws {
        let ample = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(64)))
        try await withSession(session: ample, { PeerScript(credit: 20_000) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            // The test sends one message at a time until the socket is full.
            let before = try await peer.run { $0.wire.writes }
            for _ in 0..<1_000 {
                try sender.trySend(encoded: payload(100))
                await peer.settle()
            }
            let small = try await peer.run { $0.wire.writes }
            #expect(small - before > 500)
            let transfers = try (0..<10_000).map { _ in try sender.trySend(encoded: payload(100)) }
            try await peer.run { peer in
                peer.toPeer.allowance = nil
                peer.toPeer.piece = 300
            }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            // 10,000 messages are about 1.3 MB, and a write has 32 KiB.
            #expect(try await peer.run { $0.wire.writes } - small < 200)
        }
    }

    /// A large message is sent in slices while anything else waits. A small message waits only for the bytes that
    /// Proton holds. Proton writes them message by message.
    @Test("Slices let other messages pass", .tags(.p12), arguments: [false, true])
    func p12_slicesLetOtherMessagesPass(isOnOneSession: Bool) async throws {
        let large = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(8)))
        try await withSession(session: large, { PeerScript(credit: 10, maxFrameSize: 1 << 20) }) { session, peer in
            let other = isOnOneSession ? session : try await session.connection.openSession()
            let bulk = try await session.openSender(to: "bulk")
            let quick = try await other.openSender(to: "quick")
            // The test blocks the loop, so that both messages reach it together.
            try await peer.run { _ in
                try bulk.trySend(encoded: payload(4_000_000))
                try quick.trySend(encoded: payload(100))
            }
            await peer.settle()
            let sizes = try await peer.framesOfLibrary().filter { $0.code == .transfer }.map(\.payload.readableBytes)
            let place = try #require(sizes.firstIndex(of: 100))
            #expect(sizes[..<place].reduce(0, +) <= 32_768)
            #expect(sizes.reduce(0, +) == 4_000_100)
        }
    }

    /// The sender with the highest priority sends the next slice, even in the middle of another sender's message.
    @Test("Priority decides the next slice", .tags(.p12), arguments: [false, true])
    func p12_priorityDecidesTheNextSlice(hasBegun: Bool) async throws {
        let large = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(8)))
        try await withSession(session: large, { PeerScript(credit: 100) }) { session, peer in
            let bulk = try await session.openSender(to: "bulk")
            var urgent = AMQPSender.Configuration(target: "urgent")
            urgent.priority = 9
            let quick = try await session.openSender(urgent)
            try await peer.run { $0.toPeer.allowance = 0 }
            if hasBegun {
                for _ in 0..<2 { try bulk.trySend(encoded: payload(2_000_000)) }
                await peer.settle()
            }
            // The test blocks the loop, so that all messages reach it together.
            try await peer.run { _ in
                if !hasBegun { for _ in 0..<2 { try bulk.trySend(encoded: payload(2_000_000)) } }
                for _ in 0..<10 { try quick.trySend(encoded: payload(20_000)) }
            }
            try await peer.run { $0.toPeer.allowance = nil }
            await peer.settle()
            let transfers = try await peer.framesOfLibrary().filter { $0.code == .transfer }
            let last = try #require(transfers.lastIndex { $0.field(0) == .uint(1) })
            let before = transfers[..<last].filter { $0.field(0) == .uint(0) }
            // Only the bytes that had left the backlog precede the urgent messages.
            let gone = hasBegun ? 131_072 + 65_536 : 0
            #expect(before.reduce(0) { $0 + $1.payload.readableBytes } <= gone)
            #expect(transfers.reduce(0) { $0 + $1.payload.readableBytes } == 4_200_000)
        }
    }

    /// The library sends slices even to a peer that accepts frames of any size.
    @Test("A peer without a max-frame-size gets slices", .tags(.p48), .testedProton)
    func p48_slicesWithoutAMaximum() async throws {
        let large = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(8)))
        try await withSession(session: large, { PeerScript(credit: 10, maxFrameSize: nil) }) { session, peer in
            #expect(session.connection.peer.maxFrameSize == nil)
            let first = try await session.openSender(to: "a")
            let second = try await session.openSender(to: "b")
            _ = try await first.enqueue(encoded: payload(3_000_000)).outcome()
            var sizes = try await peer.framesOfLibrary().filter { $0.code == .transfer }.map(\.payload.readableBytes)
            #expect(sizes.reduce(0, +) == 3_000_000)
            // No frame exceeds the bytes that may be in transit to the socket at once.
            #expect(sizes.allSatisfy { $0 <= 131_072 })
            let alone = sizes.count
            try await peer.run { _ in
                try first.trySend(encoded: payload(1_000_000))
                try second.trySend(encoded: payload(1_000_000))
            }
            await peer.settle()
            sizes = try await peer.framesOfLibrary().filter { $0.code == .transfer }.map(\.payload.readableBytes)
            #expect(sizes.reduce(0, +) == 5_000_000)
            // The library sent these frames while both messages waited.
            #expect(sizes[alone..<(alone + 100)].allSatisfy { $0 <= 16_384 })
        }
    }

    /// A lost connection is never used again. A new connection counts from the start.
    @Test("A connection is never used again", .tags(.p23))
    func p23_aConnectionIsNeverUsedAgain() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let first = try sender.trySend(encoded: payload(10))
            await peer.settle()
            try await peer.loseConnection()
            await expectError(.connectionLost) { try await first.outcome() }
            await expectError(.connectionLost) { try await session.connection.openSession() }
            try await withSession { again, other in
                #expect(other.handler !== peer.handler)
                let old = try await peer.run { UInt(bitPattern: $0.handler.engine.connection) }
                #expect(try await other.run { UInt(bitPattern: $0.handler.engine.connection) } != old)
                let sender = try await again.openSender(to: "q")
                #expect(try await sender.enqueue(encoded: payload(20)).outcome() == .accepted)
                let transfers = try await other.framesOfLibrary().filter { $0.code == .transfer }
                #expect(transfers.map { $0.field(1) } == [.uint(0)])
            }
        }
    }

    /// The library creates delivery tags of 1 to 32 bytes, each unique on its link.
    @Test("Delivery tags are short", .tags(.p34))
    func p34_tagsAreShort() async throws {
        try await withSession({ PeerScript(credit: 1_000) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<700 { try sender.trySend(encoded: payload(1)) }
            await peer.settle()
            let tags = try await peer.run { $0.received.map(\.tag) }
            #expect(Set(tags).count == 700)
            #expect(tags.allSatisfy { (1...32).contains($0.count) })
        }
    }

    /// Proton accepts a tag that is longer than the standard allows. The library cuts it to 32 bytes.
    @Test("Long tags of a peer are cut", .tags(.p34))
    func p34_longTagsAreCut() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            for (id, count) in [1, 32, 33, 300].enumerated() {
                let tag = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
                try await peer.run {
                    try $0.inject(.transfer(handle: 0, id: UInt32(id), tag: tag, payload: payload(id)))
                }
                let delivery = try #require(try await receiver.next())
                #expect(delivery.tag == Array(tag.prefix(32)))
                #expect(delivery.payload == payload(id))
            }
        }
    }
}

extension InMemoryPeer {
    /// The bytes of the library's sessions in Proton and in the socket.
    var heldBytes: Int {
        let proton = self.handler.sessions.values.reduce(0) { $0 + $1.session.outgoingBytes }
        return proton + self.wire.flushedBytes
    }

    /// The bytes of received messages in Proton.
    var incomingBytes: Int {
        self.handler.sessions.values.reduce(0) { $0 + $1.session.incomingBytes }
    }
}
