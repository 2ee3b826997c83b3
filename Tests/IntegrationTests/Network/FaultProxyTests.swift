// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// The proxy itself: the effect of each fault, and the limit on held bytes.
@Suite(.timeLimit(.minutes(2)))
struct FaultProxyTests {
    private static let text = Array("The quick brown fox jumps over the lazy dog. ".utf8)

    @Test func forwardsBothWaysUntilBothHaveEnded() async throws {
        try await ByteSocket.withEchoServer { port, sockets in
            try await FaultProxy.with(to: port) { proxy in
                let bytes = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                let client = try await ByteSocket.connect(to: proxy.port)
                await client.send(bytes)
                await client.finish()
                #expect(try await client.waitForEnd() == .end && client.bytes == bytes)
                try await waitUntil("both sockets are closed") { proxy.openLinks == 0 }
                #expect(proxy.links.count == 1)
                for direction in FaultDirection.allCases {
                    let record = proxy.links[0][direction]
                    #expect(record.received == bytes.count && record.forwarded == bytes.count && !record.hasEnded)
                }
            }
        }
    }

    @Test func aDelayHoldsEveryByte() async throws {
        let delay = Duration.milliseconds(100)
        try await self.echo(Self.text, toServer: .with { $0.delay = delay }, toClient: .with { $0.delay = delay }) {
            #expect($0 >= delay * 2 && $1 == Self.text)
        }
    }

    @Test func aRateSlowsTheBytesDown() async throws {
        try await self.echo(
            Array(repeating: 7, count: 3_000),
            toServer: .with { $0.bytesPerSecond = 10_000 }
        ) { time, answer in
            // The last piece does not wait for its own time.
            #expect(time >= .milliseconds(270) && answer == Array(repeating: 7, count: 3_000))
        }
    }

    @Test(arguments: [1, 3])
    func bytesAreSplitIntoSegments(_ size: Int) async throws {
        try await ByteSocket.withEchoServer { port, sockets in
            try await FaultProxy.with(to: port, toServer: .with { $0.segment = size }) { proxy in
                let client = try await ByteSocket.connect(to: proxy.port)
                await client.send(Self.text)
                await client.finish()
                #expect(try await client.waitForEnd() == .end && client.bytes == Self.text)
                #expect(proxy.links[0][.toServer].segments == (Self.text.count + size - 1) / size)
            }
        }
    }

    @Test func gatheredBytesLeaveAtTheCount() async throws {
        try await ByteSocket.withEchoServer { port, _ in
            let plan = FaultPlan.with { $0.gather = .init(bytes: 40, time: .seconds(3_600)) }
            try await FaultProxy.with(to: port, toServer: plan) { proxy in
                let client = try await ByteSocket.connect(to: proxy.port)
                for index in 0..<40 {
                    await client.send([UInt8(index)])
                    try await waitUntil("the byte arrives") { proxy.links.first?[.toServer].received == index + 1 }
                    if index < 39 { #expect(proxy.links[0][.toServer].forwarded == 0) }
                }
                try await waitUntil("all bytes are forwarded") { proxy.links[0][.toServer].forwarded == 40 }
                #expect(proxy.links[0][.toServer].segments == 1)
            }
        }
    }

    @Test func gatheredBytesLeaveAtTheTimeLimit() async throws {
        let plan = FaultPlan.with { $0.gather = .init(bytes: 1_000, time: .milliseconds(200)) }
        try await ByteSocket.withEchoServer { port, _ in
            try await FaultProxy.with(to: port, toServer: plan) { proxy in
                let client = try await ByteSocket.connect(to: proxy.port)
                let start = ContinuousClock.now
                await client.send(Self.text)
                // The client has not ended its output.
                try await waitUntil("the bytes return") { client.bytes == Self.text }
                #expect(ContinuousClock.now - start >= .milliseconds(200))
            }
        }
    }

    @Test func plannedBitsAreFlipped() async throws {
        var expected = Self.text
        expected[3] ^= 0x80
        expected[20] ^= 1
        let answer = expected
        try await self.echo(
            Self.text,
            toServer: .with { $0.flips = [3: 0x80] },
            toClient: .with { $0.flips = [20: 1] }
        ) { #expect($1 == answer) }
    }

    @Test(arguments: FaultPlan.Ending.allCases, FaultDirection.allCases)
    func aDirectionEndsAtThePlannedOffset(_ ending: FaultPlan.Ending, _ direction: FaultDirection) async throws {
        try await ByteSocket.withEchoServer { port, sockets in
            try await FaultProxy.with(to: port) { proxy in
                proxy.set(.ending(ending, at: 10), direction)
                let client = try await ByteSocket.connect(to: proxy.port)
                await client.send(Self.text)
                try await self.expect(ending, direction, proxy, client, sockets)
            }
        }
    }

    @Test(arguments: FaultPlan.Ending.allCases)
    func anOpenConnectionEndsOnRequest(_ ending: FaultPlan.Ending) async throws {
        try await ByteSocket.withEchoServer { port, sockets in
            try await FaultProxy.with(to: port) { proxy in
                let client = try await ByteSocket.connect(to: proxy.port)
                await client.send(Array(Self.text.prefix(10)))
                try await waitUntil("ten bytes return") { proxy.links.first?[.toClient].forwarded == 10 }
                proxy.end(ending, .toServer)
                try await waitUntil("the ending") { proxy.links[0][.toServer].hasEnded }
                // A write to a socket that was reset would hide the reset.
                if ending == .halfClose || ending == .blackHole { await client.send(Array(Self.text.dropFirst(10))) }
                try await self.expect(ending, .toServer, proxy, client, sockets)
            }
        }
    }

    private func expect(
        _ ending: FaultPlan.Ending,
        _ direction: FaultDirection,
        _ proxy: FaultProxy,
        _ client: ByteSocket,
        _ sockets: @Sendable () -> [ByteSocket]
    ) async throws {
        let ten = Array(Self.text.prefix(10))
        try await waitUntil("the server has accepted") { !sockets().isEmpty && !proxy.links.isEmpty }
        switch ending {
        case .cut:
            // The kernel sends a RST if a closed socket holds unread bytes, so the kind of end is not checked.
            _ = try await client.waitForEnd()
            try await waitUntil("all sockets are closed") { proxy.openLinks == 0 && sockets().allSatisfy(\.isClosed) }
            #expect((direction == .toServer ? sockets()[0] : client).bytes == ten)
        case .reset:
            #expect(try await client.waitForEnd() == .reset)
            try await waitUntil("all sockets are closed") { proxy.openLinks == 0 && sockets().allSatisfy(\.isClosed) }
        case .halfClose:
            #expect(try await client.waitForEnd() == .end && client.bytes == ten)
            if direction == .toServer {
                #expect(sockets()[0].bytes == ten && sockets()[0].end == .end)
            } else {
                try await waitUntil("the rest arrives") { sockets()[0].bytes == Self.text }
                #expect(sockets()[0].end == nil)
            }
        case .blackHole:
            try await waitUntil("the proxy has every byte") { proxy.links[0][.toServer].received == Self.text.count }
            try await waitUntil("ten bytes are forwarded") { proxy.links[0][direction].forwarded == 10 }
            // The black hole does not forward the end either.
            await client.finish()
            if direction == .toServer {
                try await waitUntil("ten bytes have come") { sockets()[0].bytes == ten }
                #expect(sockets()[0].end == nil && client.end == nil)
            } else {
                try await waitUntil("the server's end") { sockets()[0].end == .end }
                try await waitUntil("ten bytes have come") { client.bytes == ten }
                #expect(client.end == nil)
            }
        }
    }

    /// The proxy stops a sender whose sink does not read, and bounds the held bytes.
    @Test func theProxyStopsReadingWhenTheSinkDoes() async throws {
        let socket = try RawSocket()
        socket.listen(backlog: 8)
        try await FaultProxy.with(to: socket.port, toServer: .with { $0.capacity = 10_000 }) { proxy in
            let client = try await ByteSocket.connect(to: proxy.port)
            let sending = Task { await client.send(Array(repeating: 1, count: 50_000_000)) }
            var last = -1
            try await waitUntil("the proxy is full") {
                let received = proxy.links.first?[.toServer].received ?? 0
                // No further byte arrives within 200 ms.
                defer { last = received }
                if received == 0 || received != last { return false }
                try await Task.sleep(for: .milliseconds(200))
                return proxy.links[0][.toServer].received == received
            }
            let record = proxy.links[0][.toServer]
            #expect(record.received < 50_000_000)
            #expect(record.heldPeak <= 10_000 + 65_536)
            client.close()
            await sending.value
        }
    }

    private func echo(
        _ bytes: [UInt8],
        toServer: FaultPlan = .init(),
        toClient: FaultPlan = .init(),
        _ check: (Duration, [UInt8]) -> Void
    ) async throws {
        try await ByteSocket.withEchoServer { port, sockets in
            try await FaultProxy.with(to: port, toServer: toServer, toClient: toClient) { proxy in
                let client = try await ByteSocket.connect(to: proxy.port)
                let start = ContinuousClock.now
                await client.send(bytes)
                await client.finish()
                #expect(try await client.waitForEnd() == .end)
                check(ContinuousClock.now - start, client.bytes)
            }
        }
    }
}
