// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// Peers that fall silent, in one direction or both.
@Suite(.timeLimit(.minutes(3)))
struct ClientSilenceTests {
    /// The client's default with the long tests, otherwise one second.
    private static let idle: Duration =
        ProcessInfo.processInfo.environment["QPID_PROTON_LONG_TESTS"] == nil ? .seconds(1) : .seconds(15)
    private static let listening: AMQPListener.Configuration = {
        var configuration = AMQPListener.Configuration()
        // The listener does not wait for the end of a connection whose peer is unreachable.
        configuration.connection.operationTimeout = .seconds(1)
        return configuration
    }()

    /// Sends a message, and returns the time until its outcome. The client must send it again on another connection
    /// within 20 s.
    private static func send(_ sender: AMQPClient.Sender, _ body: String = "m") async throws -> Duration {
        let start = ContinuousClock.now
        let outcome = try await within("the message", limit: .seconds(20)) {
            try await sender.send(AMQPMessage(body: body))
        }
        #expect(outcome == .accepted)
        return ContinuousClock.now - start
    }

    /// Drops packets above 200 bytes that reach the sockets which a listener of this process has accepted.
    private static func dropLargePackets(port: Int) -> Int {
        // A BPF program of four instructions loads the packet's length. The program drops packets of more than 200
        // bytes, and passes all others.
        var program: [UInt64] = [0x80, 200 << 32 | 1 << 24 | 0x25, 0x06, 0xffff_ffff << 32 | 0x06]
        var count = 0
        for descriptor in Int32(3)..<4_096 where Self.port(descriptor, getsockname) == port {
            guard Self.port(descriptor, getpeername) != nil else { continue }
            let result = program.withUnsafeMutableBytes { bytes in
                var filter = (UInt64(4), UInt64(UInt(bitPattern: bytes.baseAddress)))
                return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &filter, 16)
            }
            if result == 0 { count += 1 }
        }
        return count
    }

    private static func port(
        _ descriptor: Int32,
        _ name: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> Int? {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name(descriptor, $0, &size) }
        }
        guard result == 0, address.sin_family == sa_family_t(AF_INET) else { return nil }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// The path drops large packets, as with a wrong MTU. The peer's frames still arrive, so no idle timeout detects
    /// the loss.
    @Test func aPathThatDropsLargePacketsIsALoss() async throws {
        try await ClientPeer.with(Self.listening) { peer in
            let client = AMQPClient.impatient([peer.url]) { $0.connection.idleTimeout = Self.idle }
            let sender = try await client.sender(to: "q")
            try await sender.send(AMQPMessage(body: "before"))
            let first = try #require(client.connection)
            #expect(Self.dropLargePackets(port: peer.port) >= 1)
            let large = String(repeating: "x", count: 2_000)
            let time = try await Self.send(sender, large)
            #expect(time > Self.idle)
            print("a path that drops large packets: lost after \(time)")
            let error = try #require(first.error)
            #expect(error.condition == .idleTimeout && error.detail.contains("acknowledged"), "\(error)")
            #expect(client.state == .open(generation: 2) && peer.ids == ["before", large])
            await client.close(within: .zero)
        }
    }

    @Test func aNetworkThatDropsEverythingIsALoss() async throws {
        try await withClient {
            $0.connection.idleTimeout = Self.idle
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            for direction in FaultDirection.allCases { proxy.end(.blackHole, direction) }
            print("a network that drops everything: lost after \(try await Self.send(sender))")
            #expect(client.state == .open(generation: 2))
        }
    }

    /// `TCP_USER_TIMEOUT` would end this connection.
    @Test func aPeerThatAcknowledgesAndDoesNotReadIsNoLoss() async throws {
        try await withClient {
            $0.connection.idleTimeout = .seconds(2)
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            // The peer's own frames continue.
            proxy.set(.with { $0.bytesPerSecond = 1 }, .toServer)
            let body = String(repeating: "x", count: 65_536)
            // The link's limit suspends the task while the socket is full.
            let sending = Task { for _ in 0..<240 { _ = try await sender.enqueue(AMQPMessage(body: body)) } }
            try await waitUntil("a full socket") { try await sender.link?.snapshot().blockedBy == .socket }
            try await Task.sleep(for: .seconds(6))
            #expect(try await sender.link?.snapshot().blockedBy == .socket)
            #expect(client.state == .open(generation: 1) && peer.connections.count == 1)
            proxy.set(FaultPlan(), .toServer)
            try await within("the rest") { try await sending.value }
            try await waitUntil("the messages") { sender.fates.accepted == 240 }
            #expect(client.state == .open(generation: 1))
        }
    }

    @Test func aFrozenBrokerIsALoss() async throws {
        try await withBroker { frozen, url in
            try await withBroker { _, other in
                let client = AMQPClient.impatient([url, other]) {
                    $0.connection.idleTimeout = Self.idle
                    $0.connection.openTimeout = .seconds(1)
                }
                let sender = try await client.sender(to: "q")
                try await sender.send(AMQPMessage(body: "before"))
                frozen.signal(SIGSTOP)
                defer { frozen.signal(SIGCONT) }
                print("a frozen broker: lost after \(try await Self.send(sender))")
                #expect(sender.fates.accepted == 2 && client.state != .open(generation: 1))
                await client.close(within: .zero)
            }
        }
    }
}
