// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// Hosts that a peer announces.
@Suite(.timeLimit(.minutes(3)))
struct ClientHostsTests {
    private static func place(_ port: Int) -> AMQPMap {
        [.symbol("network-host"): "127.0.0.1", .symbol("port"): .int(Int32(port))]
    }

    private static func naming(_ ports: Int...) -> AMQPListener.Configuration {
        var configuration = AMQPListener.Configuration()
        configuration.connection.properties = [
            .symbol("failover-server-list"): .list(ports.map { .map(Self.place($0)) })
        ]
        configuration.sasl = AMQPServerSASL(allowsAnonymous: true) { _, given in given == "secret" }
        return configuration
    }

    /// Runs `body` with two peers, of which the first announces the other.
    private static func withPeers(
        _ policy: AMQPClient.AnnouncedHosts,
        password: String = "",
        _ body: (AMQPClient, _ first: ClientPeer, _ other: ClientPeer) async throws -> Void
    ) async throws {
        try await ClientPeer.with { other in
            try await ClientPeer.with(Self.naming(other.port)) { first in
                let client = AMQPClient.impatient(["amqp://\(password)127.0.0.1:\(first.port)"]) {
                    $0.recovery.announcedHosts = policy
                }
                try await body(client, first, other)
                await client.close(within: .zero)
            }
        }
    }

    private static let forced = AMQPError(scope: .connection, condition: .connectionForced)

    @Test func anAnnouncedHostIsUsedInTurn() async throws {
        try await Self.withPeers(.add) { client, first, other in
            let sender = try await client.sender(to: "q")
            try await sender.send(AMQPMessage(body: "a"))
            _ = await first.connections[0].close(Self.forced)
            try await sender.send(AMQPMessage(body: "b"))
            #expect(first.ids == ["a"] && other.ids == ["b"])
            _ = await (try #require(other.connections.first)).close(Self.forced)
            try await sender.send(AMQPMessage(body: "c"))
            #expect(first.ids == ["a", "c"])
        }
    }

    @Test func anAnnouncedHostIsNotUsedByDefault() async throws {
        try await Self.withPeers(AMQPClient.Recovery().announcedHosts) { client, first, other in
            let sender = try await client.sender(to: "q")
            for round in 0..<3 {
                try await sender.send(AMQPMessage(body: "\(round)"))
                try await waitUntil("the connection") { first.connections.count == round + 1 }
                _ = await first.connections[round].close(Self.forced)
            }
            try await sender.send(AMQPMessage(body: "3"))
            #expect(first.ids == ["0", "1", "2", "3"] && other.connections.isEmpty)
        }
    }

    @Test func noPasswordIsSentToAnAnnouncedPlainHost() async throws {
        try await Self.withPeers(.replace, password: "user:secret@") { client, first, other in
            let sender = try await client.sender(to: "q")
            try await sender.send(AMQPMessage(body: "a"))
            _ = await first.connections[0].close(Self.forced)
            try await sender.send(AMQPMessage(body: "b"))
            #expect(first.ids == ["a", "b"] && other.connections.isEmpty)
        }
    }

    @Test func aRedirectIsFollowed() async throws {
        try await Self.withPeers(.add) { client, first, other in
            let sender = try await client.sender(to: "q")
            try await sender.send(AMQPMessage(body: "a"))
            var redirect = AMQPError(scope: .connection, condition: .connectionRedirect)
            redirect.info = Self.place(other.port)
            redirect.info[.symbol("hostname")] = "shop"
            _ = await first.connections[0].close(redirect)
            try await sender.send(AMQPMessage(body: "b"))
            #expect(other.ids == ["b"] && other.connections.first?.peer.hostname == "shop")
        }
    }

    @Test func aRedirectEndsAClientThatIgnoresIt() async throws {
        try await Self.withPeers(.ignore) { client, first, other in
            let sender = try await client.sender(to: "q")
            var redirect = AMQPError(scope: .connection, condition: .connectionRedirect)
            redirect.info = Self.place(other.port)
            _ = await first.connections[0].close(redirect)
            let error = try await failure(of: "sending") { try await sender.send(AMQPMessage(body: "b")) }
            #expect(error.condition == .connectionRedirect && other.connections.isEmpty)
        }
    }
}
