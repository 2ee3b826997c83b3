// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Credit, windows and handles are AMQP uints. A sender uses a peer's grant, however large it is.
@Suite(.deadline(minutes: 2))
struct LargeGrantTests {
    /// A configuration without a limit of its own.
    private static var configuration: AMQPSender.Configuration {
        var configuration = AMQPSender.Configuration(target: "q")
        configuration.unsettledLimit = nil
        return configuration
    }

    @Test(arguments: [0xFFFF_FFFF, 0xFFFF_FFFE, 0x8000_0000, 0x8000_0001, 0x7FFF_FFFF, 100] as [UInt32])
    func aSenderUsesTheCreditThatIsGranted(credit: UInt32) async throws {
        try await withSenders(.client, 1, credit: 0, Self.configuration) { senders, connection, adversary in
            let sender = senders[0]
            try await adversary.send(.flow(handle: 0, deliveryCount: 0, credit: credit))
            #expect(sender.credit == Int(credit))
            let transfers = try (0..<30).map { _ in try sender.trySend(encoded: payload(10)) }
            await adversary.peer.settle()
            #expect(try await adversary.frames(.transfer).count == 30)
            #expect(sender.credit == Int(credit) - 30)
            try await adversary.send(.disposition(0, 29))
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            // The peer grants the same credit again, while ten messages are in flight.
            try await adversary.send(.flow(nextIncomingID: 20, handle: 0, deliveryCount: 20, credit: credit))
            #expect(sender.credit == Int(credit) - 10)
            // The peer revokes more credit than is left.
            try await adversary.send(.flow(nextIncomingID: 20, handle: 0, deliveryCount: 20, credit: 0))
            #expect(sender.credit == 0)
            _ = try sender.trySend(encoded: payload(10))
            await adversary.peer.settle()
            #expect(try await adversary.frames(.transfer).count == 30)
            try await adversary.send(.flow(nextIncomingID: 30, handle: 0, deliveryCount: 30, credit: credit))
            #expect(try await adversary.frames(.transfer).count == 31)
            #expect(connection.error == nil)
        }
    }

    /// The counts of both sides agree, even for a link whose limit exceeds 2³².
    @Test(arguments: [0xFFFF_FFFF, 0x8000_0000, 5] as [UInt32])
    func theStateAndADrainReportAllCredit(credit: UInt32) async throws {
        try await withSenders(.client, 1, credit: 0, Self.configuration) { senders, _, adversary in
            try await adversary.send(.flow(handle: 0, deliveryCount: 0, credit: credit))
            for _ in 0..<3 { _ = try senders[0].trySend(encoded: payload(10)) }
            await adversary.peer.settle()
            try await adversary.send(.flow(nextIncomingID: 3, handle: 0, deliveryCount: 0, credit: credit, echo: true))
            let echo = try #require(try await adversary.frames(.flow).last)
            #expect(echo.field(5) == .uint(3) && echo.field(6) == .uint(credit - 3), "\(echo)")
            try await adversary.send(
                .flow(nextIncomingID: 3, handle: 0, deliveryCount: 3, credit: credit - 3, drain: true)
            )
            let drained = try #require(try await adversary.frames(.flow).last)
            #expect(drained.field(5) == .uint(credit) && drained.field(6) == .uint(0), "\(drained)")
            #expect(senders[0].credit == 0)
            // The sender uses credit that the peer grants afterwards.
            try await adversary.send(.flow(nextIncomingID: 3, handle: 0, deliveryCount: credit, credit: 2))
            #expect(senders[0].credit == 2)
            for _ in 0..<3 { _ = try senders[0].trySend(encoded: payload(10)) }
            await adversary.peer.settle()
            #expect(try await adversary.frames(.transfer).count == 5)
        }
    }

    /// Any grant, with any number of messages in flight up to the grant.
    @Test func protonCountersAreSigned32BitNumbers() {
        var random = SeededGenerator(seed: 7)
        for _ in 0..<10_000 {
            let granted = UInt32.random(in: 0 ... .max, using: &random) >> UInt32.random(in: 0...31, using: &random)
            let used = UInt32.random(in: 0...granted, using: &random)
            #expect(LinkCredit.left(granted - used, of: granted) == Int(granted - used), "seed 7")
            let over = UInt32.random(in: 1...1_000_000, using: &random)
            guard granted < 0x7000_0000 else { continue }
            // The peer has revoked credit that is already used.
            #expect(LinkCredit.left(0 &- over, of: granted) == -Int(over), "seed 7")
        }
        // The peer's delivery-count is ahead of this side's.
        #expect(LinkCredit.left(1_000, of: 0) == 1_000)
    }

    @Test func theRemoteWindowIsAnyUint() {
        var window = RemoteWindow(initialOutgoingID: 0xFFFF_FFF0, incomingWindow: .max)
        #expect(window.available == Int(UInt32.max))
        window.sent(3_000_000_000)
        #expect(window.available == Int(UInt32.max) - 3_000_000_000)
        window.update(nextIncomingID: window.nextOutgoingID &- 7, incomingWindow: .max)
        #expect(window.available == Int(UInt32.max) - 7)
        window.update(nextIncomingID: window.nextOutgoingID &- 7, incomingWindow: 3)
        #expect(window.available == -4)
    }

    /// A peer may use every advertised handle, and no other.
    @Test func theHighestHandleIsAdvertised() async throws {
        try await withReceivers(.client, 1) { _, connection, adversary in
            let begin = try #require(try await adversary.frames(.begin).last)
            #expect(begin.field(4) == .uint(UInt32(Int32.max)))
            let session = connection.peer
            #expect(session.maxFrameSize == 65_536)
        }
        try await withAdversary(.server) { connection, adversary in
            try await adversary.send(.begin(), .attach("l", handle: UInt32(Int32.max), isReceiver: false))
            let receiver = try await connection.acceptReceiver()
            await adversary.peer.settle()
            try await adversary.send(
                .transfer(handle: UInt32(Int32.max), id: 0, tag: [1], payload: try AMQPMessage(body: "m").encoded())
            )
            #expect(try await receiver.nextInTime().decodeMessage().bodyString == "m")
        }
    }
}
