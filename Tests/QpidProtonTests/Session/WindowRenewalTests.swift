// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// P43, P46: the window of a session is renewed at each quarter, and the peer never finds it used up.
@Suite(.deadline)
struct WindowRenewalTests {
    private static var configuration: AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 512
        return configuration
    }

    @Test func theWindowFollowsTheSizeOfTransfers() {
        var free = 65_536 * 16
        var window = IncomingWindow(capacity: free, frameSize: 65_536, outgoingWindow: 7)
        #expect(window.initial == 16)
        #expect(window.gain(left: 16, free: free) == nil)
        var isDue: [Bool] = []
        for _ in 0..<4 { isDue.append(window.arrive(100)) }
        #expect(isDue == [false, false, false, true])
        for _ in 0..<300 { _ = window.arrive(100) }
        // The average size has fallen to 104 bytes per transfer.
        let gain = window.gain(left: 12, free: free) ?? 0
        #expect(gain > 9_000 && gain < 10_486)
        window.told(12 + gain)
        #expect(window.gain(left: 12 + gain, free: free) == nil)
        #expect(window.gain(left: 12 + gain * 7 / 8, free: free) == nil)
        #expect(window.gain(left: gain / 2, free: free) != nil)
        // Held bytes leave less room, but the library never reduces an advertised window.
        free = 0
        #expect(window.gain(left: 0, free: free) == nil)
        #expect(window.smallGain(left: 5, free: free) == 0)
        free = 1_000
        #expect(window.gain(left: 0, free: free) != nil)
        // Large transfers count at once.
        for _ in 0..<30 { _ = window.arrive(65_536) }
        free = 65_536 * 4
        #expect(window.smallGain(left: 0, free: free) == 4)
    }

    /// The library counts a frame once its head has arrived, and Proton counts it later. Proton's flows must not shrink
    /// the advertised window.
    @Test func anAdvertisedWindowStaysWithinAFrame() async throws {
        let configuration = AMQPSession.Configuration(incomingCapacity: .kibibytes(128))
        try await withSession(session: configuration) { session, peer in
            let receiver = try await session.openReceiver(.init(source: "q", window: .manual))
            receiver.grant(credit: 2)
            await peer.settle()
            try await peer.run { peer in
                peer.toLibrary.allowance = 2_000
                peer.send(payload(30_000), on: peer.links[0])
            }
            receiver.grant(credit: 5)
            await peer.settle()
            let limits = try await peer.framesOfLibrary().compactMap { frame -> UInt32? in
                guard frame.code == .flow, case .uint(let next) = frame.field(0),
                    case .uint(let window) = frame.field(1)
                else { return nil }
                return next + window
            }
            // The flows are for the credit, for the arriving frame, and for more credit.
            #expect(limits == [2, 3, 3])
            try await peer.run { $0.toLibrary.allowance = nil }
            #expect(receiver.poll() != nil)
        }
    }

    /// Returns the smallest rest of the window at the peer, from the frames of both sides in their order on the wire.
    private func leastWindow(_ peer: InMemoryPeer, _ transfers: Int, _ send: @Sendable (Int) async throws -> Void)
        async throws -> (least: Int, flows: Int, windows: [Int])
    {
        var least = Int.max
        for number in 0..<transfers {
            try await send(number)
            await peer.settle()
            let frames = try await peer.framesOfLibrary()
            // The ids of the transfers begin with 0.
            let last = frames.last { $0.code == .flow || $0.code == .begin }
            let limit: Int
            if last?.code == .flow, case .uint(let next)? = last?.field(0), case .uint(let window)? = last?.field(1) {
                limit = Int(next) + Int(window)
            } else if case .uint(let window)? = last?.field(2) {
                limit = Int(window)
            } else {
                continue
            }
            least = min(least, limit - (number + 1))
        }
        let flows = try await peer.framesOfLibrary().filter { $0.code == .flow }
        let windows = flows.compactMap { flow -> Int? in
            if case .uint(let window) = flow.field(1) { Int(window) } else { nil }
        }
        return (least, flows.count, windows)
    }

    @Test func manySmallMessagesNeverUseTheWindowUp() async throws {
        // The window is sixteen frames, and the credit is too large to renew it.
        let session = AMQPSession.Configuration(incomingCapacity: 8_192)
        try await withSession(configuration: Self.configuration, session: session) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(1_000))
            let (least, flows, windows) = try await self.leastWindow(peer, 100) { number in
                try await peer.run { _ = $0.send(payload(10 + number), on: $0.links[0], settled: true) }
            }
            #expect(least >= 11)
            // One flow is for the credit. The others renew a quarter of a window that grows, because the transfers are
            // small.
            #expect((5...27).contains(flows))
            #expect(windows.allSatisfy { $0 >= 15 }, "\(windows)")
            #expect(windows.contains { $0 > 40 }, "\(windows)")
            for number in 0..<100 { #expect(receiver.poll()?.payload.readableBytes == 10 + number) }
        }
    }

    @Test func oneLargeMessageNeverUsesTheWindowUp() async throws {
        let session = AMQPSession.Configuration(incomingCapacity: 8_192)
        try await withSession(configuration: Self.configuration, session: session) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            let parts = 100
            let (least, flows, _) = try await self.leastWindow(peer, parts) { number in
                try await peer.run {
                    _ = $0.send(payload(400), on: $0.links[0], settled: true, isLast: number == parts - 1)
                }
            }
            #expect(least >= 11)
            #expect((25...27).contains(flows))
            #expect(receiver.poll()?.payload.readableBytes == 400 * parts)
        }
    }

    @Test func aWindowOfTwoFramesIsRenewedEachTime() async throws {
        let session = AMQPSession.Configuration(incomingCapacity: 1_024)
        try await withSession(configuration: Self.configuration, session: session) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            for number in 0..<50 { try await peer.run { _ = $0.send(payload(number + 1), on: $0.links[0]) } }
            for number in 0..<50 {
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload.readableBytes == number + 1)
                delivery.accept()
            }
        }
    }

    /// Serial numbers wrap, and the window of an ended session is no longer renewed.
    @Test func transferIDsWrap() async throws {
        try await withPeer(configuration: Self.configuration) { connection, peer in
            let session = try await connection.openSession(.init(incomingCapacity: 8_192))
            let receiver = try await session.openReceiver(from: "q", window: .messages(1_000))
            for _ in 0..<40 { try await peer.run { _ = $0.send(payload(1), on: $0.links[0], settled: true) } }
            await peer.settle()
            let before = try await peer.count(.flow)
            try await session.close().check()
            await peer.settle()
            // One flow precedes the `end`, so that Proton and the peer agree on the window. None follows it.
            #expect(try await peer.count(.flow) <= before + 1)
            #expect(receiver.bufferedMessages == 40)
            let frames = try await peer.framesOfLibrary()
            let ends = frames.firstIndex { $0.code == .end } ?? frames.endIndex
            #expect(frames[ends...].allSatisfy { $0.code != .flow })
        }
    }

    /// Messages that were in flight when their receiver closed must not use up Proton's window for the other links.
    @Test(arguments: [4, 7, 12, 16]) func aClosedReceiverUsesNoWindowOfOthers(_ late: Int) async throws {
        try await withPeer(configuration: Self.configuration, { .notClosing }) { connection, peer in
            let session = try await connection.openSession(.init(incomingCapacity: 8_192))
            let closed = try await session.openReceiver(from: "closed", window: .messages(1_000))
            let open = try await session.openReceiver(from: "open", window: .messages(1_000))
            for _ in 0..<6 { try await peer.run { _ = $0.send(payload(1), on: $0.links[1], settled: true) } }
            let close = begin { try await closed.close().check() }
            await peer.settle()
            try await peer.run { peer in
                for _ in 0..<late { _ = peer.send(payload(2), on: peer.links[0], settled: true) }
                for _ in 0..<40 { _ = peer.send(payload(3), on: peer.links[1], settled: true) }
            }
            try await eventually("all have come") { open.bufferedMessages == 46 }
            #expect(connection.error == nil)
            try await peer.run { pn_link_close($0.links[0]) }
            try await close.value
            for _ in 0..<40 { try await peer.run { _ = $0.send(payload(1), on: $0.links[1], settled: true) } }
            try await eventually("all have come") { open.bufferedMessages == 86 }
        }
    }

    @Test func anEndedSessionDoesNotDisturbTheConnection() async throws {
        try await withPeer(configuration: Self.configuration, { .notClosing }) { connection, peer in
            let session = try await connection.openSession(.init(incomingCapacity: 8_192))
            _ = try await session.openReceiver(from: "q", window: .messages(1_000))
            for _ in 0..<6 { try await peer.run { _ = $0.send(payload(1), on: $0.links[0], settled: true) } }
            let close = begin { try await session.close().check() }
            await peer.settle()
            try await peer.run { peer in
                for _ in 0..<16 { _ = peer.send(payload(2), on: peer.links[0], settled: true) }
            }
            await peer.settle()
            #expect(connection.error == nil)
            try await peer.run { pn_session_close($0.sessions[0]) }
            try await close.value
            #expect(connection.error == nil)
        }
    }
}
