// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Opening and closing a connection to an in-memory peer.
@Suite(.deadline)
struct ConnectionTests {
    @Test func opensAndCloses() async throws {
        try await withPeer { connection, peer in
            #expect(connection.peer.containerID == "peer")
            #expect(connection.error == nil)
            try await connection.close().check()
            #expect(try await peer.count(.close) == 1)
            #expect(connection.error?.condition == .closed)
            try await connection.close().check()
            try await connection.waitUntilClosed()
            #expect(try await peer.count(.close) == 1)
        }
    }

    @Test func theOpenCarriesEverySetting() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.containerID = "me"
        configuration.virtualHost = "example.test"
        configuration.maxFrameSize = 4_096
        configuration.channelMax = 7
        configuration.idleTimeout = .seconds(20)
        configuration.properties = [.symbol("product"): "test", .symbol("n"): .list([.int(1), .null])]
        configuration.offeredCapabilities = ["A", "B"]
        configuration.desiredCapabilities = ["C"]
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.maxFrameSize = 8_192
            script.channelMax = 5
            script.idleTimeout = 30_000
            script.beforeOpen = { peer in
                try? ProtonData.set(pn_connection_offered_capabilities(peer.connection), symbols: ["X", "Y"])
                try? ProtonData.set(pn_connection_desired_capabilities(peer.connection), symbols: ["Z"])
                try? ProtonData.set(pn_connection_properties(peer.connection), map: [.symbol("version"): .double(1.5)])
                pn_connection_set_hostname(peer.connection, "other.test")
            }
            return script
        }
        try await withPeer(configuration: configuration, script) { connection, peer in
            let expected = AMQPPeer(
                containerID: "peer",
                hostname: "other.test",
                maxFrameSize: 8_192,
                channelMax: 5,
                idleTimeout: .seconds(15),
                offeredCapabilities: ["X", "Y"],
                desiredCapabilities: ["Z"],
                properties: [.symbol("version"): .double(1.5)]
            )
            #expect(connection.peer == expected)
            try await peer.run { peer in
                let remote = peer.connection
                #expect(pn_connection_remote_container(remote).map { String(cString: $0) } == "me")
                #expect(pn_connection_remote_hostname(remote).map { String(cString: $0) } == "example.test")
                #expect(pn_transport_get_remote_max_frame(peer.transport) == 4_096)
                #expect(pn_transport_remote_channel_max(peer.transport) == 7)
                #expect(pn_transport_get_remote_idle_timeout(peer.transport) == 10_000)
                #expect(ProtonData.symbols(pn_connection_remote_offered_capabilities(remote)) == ["A", "B"])
                #expect(ProtonData.symbols(pn_connection_remote_desired_capabilities(remote)) == ["C"])
                let properties = ProtonData.map(pn_connection_remote_properties(remote))
                #expect(properties == [.symbol("product"): "test", .symbol("n"): .list([.int(1), .null])])
            }
        }
    }

    @Test func closingWithAnError() async throws {
        try await withPeer { connection, peer in
            let error = AMQPError(
                scope: .connection,
                condition: "x:bye",
                detail: "going home",
                info: [.symbol("when"): "now"]
            )
            try await connection.close(error).check()
            try await peer.run { peer in
                let condition = pn_connection_remote_condition(peer.connection)
                #expect(pn_condition_get_name(condition).map { String(cString: $0) } == "x:bye")
                #expect(pn_condition_get_description(condition).map { String(cString: $0) } == "going home")
                #expect(ProtonData.map(pn_condition_info(condition)) == [.symbol("when"): "now"])
            }
            #expect(connection.error == error)
        }
    }

    @Test func thePeerClosesWithAnError() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let receiver = try await session.openReceiver(from: "q")
            let waiting = begin { try await receiver.next() }
            try await peer.run { peer in
                let condition = pn_connection_condition(peer.connection)
                pn_condition_set_name(condition, "amqp:connection:redirect")
                pn_condition_set_description(condition, "over there")
                try ProtonData.set(pn_condition_info(condition), map: [.symbol("port"): .ushort(1)])
                pn_connection_close(peer.connection)
            }
            let error = await expectError(.connectionRedirect) { try await waiting.value }
            #expect(error?.scope == .connection)
            #expect(error?.origin == .peer)
            #expect(error?.detail == "over there")
            #expect(error?.info == [.symbol("port"): .ushort(1)])
            #expect(session.connection.error == error)
            #expect(session.error == error)
            #expect(sender.error == error)
            await expectError(.connectionRedirect) { try await session.connection.close().check() }
            await expectError(.connectionRedirect) { try await session.connection.waitUntilClosed() }
            await expectError(.connectionRedirect) { try await session.openSender(to: "q") }
            #expect(try await peer.run { $0.wire.isClosed })
        }
    }

    @Test func theLossOfTheSocketReachesAllWaitingTasks() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let receiver = try await session.openReceiver(from: "q")
            let other = try await session.openReceiver(from: "q")
            let third = try await session.openReceiver(from: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            let waits: [Begun<Void>] = [
                begin { _ = try await receiver.next() },
                begin { _ = try await other.receive(timeout: .seconds(100)) },
                begin { _ = try await sender.send(AMQPMessage(body: "x")) },
                begin { _ = try await sender.deliveryLimit(after: sender.deliveryLimit) },
                begin { _ = try await session.openSender(to: "r") },
                begin { _ = try await session.connection.openSession() },
                begin { try await sender.waitUntilClosed() },
                begin { try await session.waitUntilClosed() },
                begin { try await session.connection.waitUntilClosed() },
            ]
            let closing = begin { try await third.close().check() }
            await peer.settle()
            try await peer.loseConnection()
            for wait in waits { await expectError(.connectionLost) { try await wait.value } }
            await expectError(.connectionLost) { try await closing.value }
            await expectError(.connectionLost) { try await session.connection.close().check() }
        }
    }

    @Test func droppingTheConnectionClosesIt() async throws {
        let peer = try await InMemoryPeer()
        do {
            let parts = AMQPConnection.Parts(peer.handler, peer.channel)
            let connection = AMQPConnection(parts, try await parts.opened.value(), .init())
            _ = try await connection.openSession()
        }
        await peer.settle()
        #expect(try await peer.count(.close) == 1)
        #expect(try await peer.run { $0.wire.isClosed })
        await peer.finish()
    }

    @Test func sessionsUpToChannelMax() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.channelMax = 9
        try await withPeer(
            configuration: configuration,
            {
                var script = PeerScript()
                script.channelMax = 3
                return script
            }
        ) { connection, peer in
            var sessions: [AMQPSession] = []
            for _ in 0..<4 { sessions.append(try await connection.openSession()) }
            await expectError(.resourceLimitExceeded) { try await connection.openSession() }
            try await sessions[1].close().check()
            // The channel number rests before it is used again.
            await peer.advance(by: .milliseconds(20), steps: 1)
            sessions[1] = try await connection.openSession()
            await expectError(.resourceLimitExceeded) { try await connection.openSession() }
            for session in sessions { try await session.close().check() }
            for _ in 0..<50 {
                await peer.advance(by: .milliseconds(20), steps: 1)
                try await connection.openSession().close().check()
            }
            #expect(connection.error == nil)
        }
    }

    @Test func aPeerThatDoesNotSpeakAMQPIsRefused() async throws {
        let headers: [[UInt8]] = [
            Array("HTTP/1.1 400 Bad Request\r\n".utf8), [0x41, 0x4D, 0x51, 0x50, 3, 1, 0, 0],
            [0x41, 0x4D, 0x51, 0x50, 0, 0, 9, 1],
            [0], [0x41, 0x4D, 0x51, 0x51],
        ]
        for header in headers {
            let peer = try await InMemoryPeer(script: PeerScript.mute)
            let parts = AMQPConnection.Parts(peer.handler, peer.channel)
            try await peer.run { peer in
                for byte in header { peer.inject(ByteBuffer(bytes: [byte])) }
            }
            await expectError(.connectionFramingError) { try await parts.opened.value() }
            await peer.settle()
            #expect(try await peer.run { $0.wire.isClosed })
            await peer.finish()
        }
    }

    @Test func settingsThatCannotBeUsed() async throws {
        var configurations = Array(repeating: AMQPConnection.Configuration(), count: 4)
        configurations[0].maxFrameSize = 511
        configurations[1].maxFrameSize = .gibibytes(8)
        configurations[2].channelMax = .max
        configurations[3].idleTimeout = .zero
        for configuration in configurations {
            await expectError(.invalidArgument) {
                try await AMQPConnection.connect(host: "localhost", port: 1, configuration: configuration)
            }
        }
    }
}

extension PeerScript {
    /// A peer that sends nothing by itself.
    static var mute: PeerScript {
        var script = PeerScript()
        script.opensConnection = false
        script.beforeOpen = { $0.toLibrary.allowance = 0 }
        return script
    }
}
