// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import QpidProton
import TestSupport
import Testing

/// Idle timeouts and heartbeats.
@Suite(.timeLimit(.minutes(2)))
struct FailureIdleTests {
    @Test func silentServerIsFoundByTheIdleTimeout() async throws {
        var configuration = AMQPConnection.Configuration()
        // The timeout exceeds the time that a busy machine needs to answer the `open`.
        configuration.idleTimeout = .seconds(1)
        let settings = configuration
        try await ScriptedPeer.with { _, url in
            let connection = try await AMQPConnection.connect(to: url, configuration: settings)
            let start = ContinuousClock.now
            let error = try await failure(of: "waiting") { try await connection.waitUntilClosed() }
            let elapsed = ContinuousClock.now - start
            #expect(
                error.condition == .idleTimeout && error.isRetryable && error.detail.contains("no bytes arrived"),
                "\(error)"
            )
            // The limit is twice the timeout, with slack for a busy machine.
            #expect(elapsed < .seconds(2) + .seconds(5))
        }
    }

    @Test func silentClientIsFoundByTheIdleTimeout() async throws {
        var configuration = AMQPListener.Configuration()
        configuration.connection.idleTimeout = .milliseconds(400)
        try await TestListener.with(configuration) { listener in
            let opening = try FrameBytes.header + Frame(.open, ["silent"]).bytes()
            let start = ContinuousClock.now
            // The call returns when the listener closes the socket.
            let answer = try await exchange(opening, with: listener.listener.port) { _ in false }
            #expect(ContinuousClock.now - start < .milliseconds(800) + .seconds(5))
            #expect(answer.contains(Array("amqp:resource-limit-exceeded".utf8)))
            try await waitUntil("the end") { listener.ends.count == 1 }
            #expect(listener.ends[0]?.condition == .idleTimeout)
        }
    }

    @Test func heartbeatsKeepAQuietConnectionForTenIdleTimeouts() async throws {
        let idle = Duration.seconds(1)
        var listening = AMQPListener.Configuration()
        listening.connection.idleTimeout = idle
        var connecting = AMQPConnection.Configuration()
        connecting.idleTimeout = idle
        // The group has threads of its own, because other tests keep the shared ones busy.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        listening.connection.eventLoopGroup = group
        connecting.eventLoopGroup = group
        defer { group.shutdownGracefully { _ in } }
        try await TestListener.with(listening) { listener in
            let connection = try await AMQPConnection.connect(to: listener.url, configuration: connecting)
            #expect(connection.peer.idleTimeout == .milliseconds(500))
            let sender = try await connection.openSession().openSender(to: "queue")
            let quiet = Task { try await connection.waitUntilClosed() }
            try await Task.sleep(for: idle * 10)
            #expect(connection.error == nil)
            #expect(try await sender.send(AMQPMessage(body: "still here")) == .accepted)
            try await connection.close().check()
            try await quiet.value
        }
    }

    @Test func aConnectionWithoutAnIdleTimeoutOpensAndCloses() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = nil
        let settings = configuration
        try await ScriptedPeer.with { peer, url in
            let connection = try await AMQPConnection.connect(to: url, configuration: settings)
            #expect(connection.peer.idleTimeout == nil)
            try await connection.close().check()
            #expect(peer.count(.close) == 1)
        }
    }
}
