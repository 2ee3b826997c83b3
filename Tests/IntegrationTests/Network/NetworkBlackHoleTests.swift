// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import NIOPosix
import QpidProton
import Synchronization
import TestSupport
import Testing

/// Networks that accept every byte and forward none, and quiet networks.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct NetworkBlackHoleTests {
    private static let isLong = ProcessInfo.processInfo.environment["QPID_PROTON_LONG_TESTS"] != nil
    /// A machine that runs other tests may be busy for longer than 300 ms.
    private static let idle = Duration.milliseconds(isLong ? 300 : 1_000)

    /// A connection of a client and a listener through a proxy. It has a thread of its own, because other tests keep
    /// the shared threads busy.
    private struct Line: Sendable {
        let proxy: FaultProxy
        let client: AMQPConnection
        let server: AMQPConnection
        let sender: AMQPSender
        let receiver: AMQPReceiver
        let remains: Remains
    }

    private static func with(idle: Duration, _ body: @escaping @Sendable (Line) async throws -> Void) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { group.shutdownGracefully { _ in } }
        let remains = Remains()
        var connecting = AMQPConnection.Configuration()
        connecting.idleTimeout = idle
        connecting.eventLoopGroup = group
        remains.share(&connecting)
        var listening = AMQPListener.Configuration()
        listening.connection = connecting
        let settings = connecting
        let listener = try await AMQPListener.bind(port: 0, configuration: listening)
        try await FaultProxy.with(to: listener.port, on: group) { proxy in
            try await within("the test", limit: .seconds(60)) {
                async let accepted = Self.accept(listener)
                let client = try await AMQPConnection.connect(to: proxy.url, configuration: settings)
                let sender = try await client.openSession().openSender(to: "queue")
                let (server, receiver) = try await accepted
                remains.watch(client, "client")
                remains.watch(server, "server")
                let line = Line(
                    proxy: proxy,
                    client: client,
                    server: server,
                    sender: sender,
                    receiver: receiver,
                    remains: remains
                )
                try await body(line)
                await server.close()
            }
            await listener.close()
            // The proxy's own sockets stay open, because a black hole forwards no end.
            try await waitUntil("both have closed their sockets") {
                FaultDirection.allCases.allSatisfy { proxy.links[0][$0].hasSourceEnded }
            }
            try await waitUntil("nothing is left: \(remains.left)") { remains.left.isEmpty }
        }
    }

    private static func accept(_ listener: AMQPListener) async throws -> (AMQPConnection, AMQPReceiver) {
        guard let connection = try await listener.makeAsyncIterator().next(isolation: nil) else {
            throw NoFailure(what: "a connection")
        }
        let wishes = connection.incoming.makeAsyncIterator()
        while let wish = try await wishes.next(isolation: nil) {
            switch wish {
            case .session(let session): try await session.accept()
            case .receiver(let incoming): return (connection, try await incoming.accept())
            case .sender(let incoming): incoming.refuse(AMQPError(scope: .link, condition: .notAllowed))
            }
        }
        throw NoFailure(what: "a link")
    }

    /// The time until a connection has ended, and its error.
    private static func end(
        of connection: AMQPConnection,
        since start: ContinuousClock.Instant
    ) async -> (time: Duration, error: AMQPError?) {
        do throws(AMQPError) {
            try await connection.waitUntilClosed()
            return (ContinuousClock.now - start, nil)
        } catch {
            return (ContinuousClock.now - start, error)
        }
    }

    @Test(arguments: [false, true])
    func bothEndsFindABlackHole(isSending: Bool) async throws {
        for round in 0..<(Self.isLong ? 5 : 2) {
            try await Self.with(idle: Self.idle) { line in
                let (account, got) = (SendAccount(), ReadController())
                let taking = Task {
                    while let delivery = try await line.receiver.next() { got.decide(delivery) }
                }
                let sending = Task {
                    var number = 0
                    while isSending, line.sender.error == nil {
                        let message = AMQPMessage(number: number, padding: 1_000)
                        await account.offer(number) { () throws(AMQPError) in try await line.sender.enqueue(message) }
                        number += 1
                    }
                }
                if isSending { try await waitUntil("messages flow") { got.decisions.count > 200 } }
                let start = ContinuousClock.now
                for direction in FaultDirection.allCases { line.proxy.end(.blackHole, direction) }
                async let atClient = Self.end(of: line.client, since: start)
                async let atServer = Self.end(of: line.server, since: start)
                let ends = await [atClient, atServer]
                for end in ends {
                    let error = try #require(end.error)
                    #expect(error.condition == .idleTimeout && error.origin == .local, "\(error)")
                    #expect(error.detail.contains("no bytes arrived"), "\(error)")
                    // Twice the timeout, with slack for a busy machine.
                    #expect(end.time >= Self.idle / 2 && end.time < Self.idle * 2 + .seconds(5))
                }
                await sending.value
                _ = await taking.result
                try await waitUntil("every fate") { account.isComplete }
                #expect(account.disagreements(with: got) == [])
                print("black hole, round \(round): \(ends.map(\.time)); \(account.sums)")
            }
        }
    }

    /// The side that receives nothing closes the connection, and the other side reads the reason.
    @Test(arguments: FaultDirection.allCases)
    func aBlackHoleInOneDirectionEndsBothSides(_ direction: FaultDirection) async throws {
        try await Self.with(idle: Self.idle) { line in
            let start = ContinuousClock.now
            line.proxy.end(.blackHole, direction)
            async let atClient = Self.end(of: line.client, since: start)
            async let atServer = Self.end(of: line.server, since: start)
            let ends = await (client: atClient, server: atServer)
            let (deaf, other) = direction == .toClient ? (ends.client, ends.server) : (ends.server, ends.client)
            #expect(deaf.error?.condition == .idleTimeout && deaf.error?.origin == .local)
            #expect(other.error?.condition == .resourceLimitExceeded && other.error?.origin == .peer)
            #expect(max(deaf.time, other.time) < Self.idle * 2 + .seconds(5))
        }
    }

    /// Both sides send only heartbeats.
    @Test func heartbeatsKeepAQuietConnectionForLongerThanTenIdleTimeouts() async throws {
        try await Self.with(idle: Self.idle) { line in
            let start = ContinuousClock.now
            let before = FaultDirection.allCases.map { line.proxy.links[0][$0].forwarded }
            try await waitUntil("eleven idle timeouts have passed") {
                ContinuousClock.now - start > Self.idle * 11 || line.client.error != nil || line.server.error != nil
            }
            #expect(line.client.error == nil && line.server.error == nil)
            for (direction, count) in zip(FaultDirection.allCases, before) {
                let bytes = line.proxy.links[0][direction].forwarded - count
                // A heartbeat is an empty frame of 8 bytes, and each idle timeout needs at least one.
                #expect(bytes >= 11 * 8, "\(direction): \(bytes)")
                print(
                    "heartbeats \(direction): \(bytes / 8) in \(ContinuousClock.now - start), idle timeout \(Self.idle)"
                )
            }
            let taking = Task { try await line.receiver.next()?.accept() }
            #expect(try await line.sender.send(AMQPMessage(body: "still here")) == .accepted)
            _ = try await taking.value
            async let closed: Void? = try? await line.server.waitUntilClosed()
            try await line.client.close().check()
            #expect(await closed != nil)
        }
    }
}
