// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Beginning and ending sessions.
@Suite(.deadline)
struct SessionTests {
    @Test func endingWithErrorsBothWays() async throws {
        try await withPeer { connection, peer in
            let mine = try await connection.openSession()
            await mine.close(
                AMQPError(scope: .session, condition: "x:mine", detail: "enough", info: [.symbol("a"): .int(1)])
            )
            try await peer.run { peer in
                let condition = pn_session_remote_condition(peer.sessions[0])
                #expect(pn_condition_get_name(condition).map { String(cString: $0) } == "x:mine")
                #expect(ProtonData.map(pn_condition_info(condition)) == [.symbol("a"): .int(1)])
            }
            #expect(mine.error?.condition == "x:mine")

            let theirs = try await connection.openSession()
            let sender = try await theirs.openSender(to: "q")
            try await peer.run { peer in
                pn_condition_set_name(pn_session_condition(peer.sessions[1]), "amqp:session:window-violation")
                pn_session_close(peer.sessions[1])
            }
            await expectError(.sessionWindowViolation) { try await theirs.waitUntilClosed() }
            await expectError(.sessionWindowViolation) { try await sender.waitUntilClosed() }
            await expectError(.sessionWindowViolation) { try await sender.send(AMQPMessage(body: "x")) }
            await expectError(.sessionWindowViolation) { try await theirs.openReceiver(from: "q") }
            await expectError(.sessionWindowViolation) { try await theirs.close().check() }
            #expect(theirs.error?.origin == .peer)
            #expect(try await peer.count(.end) == 2)
            // The connection continues.
            let third = try await connection.openSession()
            #expect(try await third.openSender(to: "q").send(AMQPMessage(body: "x")) == .accepted)
        }
    }

    @Test func cancellingAnOpening() async throws {
        try await withPeer({
            var script = PeerScript()
            script.opensSessions = false
            return script
        }) { connection, peer in
            let opening = begin { try await connection.openSession() }
            await peer.settle()
            opening.cancel()
            await expectError(.cancelled) { try await opening.value }
            // The peer answers late. The session ends, and nothing else changes.
            try await peer.run {
                $0.script.opensSessions = true
                pn_session_open($0.sessions[0])
            }
            #expect(try await peer.count(.end) == 1)
            let session = try await connection.openSession()
            try await peer.run { $0.script.opensLinks = false }
            let sender = begin { try await session.openSender(to: "a") }
            let receiver = begin { try await session.openReceiver(from: "a") }
            await peer.settle()
            sender.cancel()
            receiver.cancel()
            await expectError(.cancelled) { try await sender.value }
            await expectError(.cancelled) { try await receiver.value }
            await peer.settle()
            #expect(try await peer.count(.detach) == 2)
            try await peer.run { $0.script.opensLinks = true }
            #expect(try await session.openSender(to: "b").send(AMQPMessage(body: "x")) == .accepted)
        }
    }

    @Test func scopesCloseWhatTheyOpen() async throws {
        try await withPeer { connection, peer in
            struct Stop: Error {}
            try await connection.withSession { session in
                try await session.withSender(.init(target: "q")) { _ = try await $0.send(AMQPMessage(body: "x")) }
                await #expect(throws: Stop.self) {
                    try await session.withReceiver(.init(source: "q")) { _ in throw Stop() }
                }
            }
            #expect(try await peer.count(.detach) == 2)
            #expect(try await peer.count(.end) == 1)
        }
    }

    /// The peer sends more than the session's window until it has received the end.
    @Test func endingWhileMessagesArrive() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 1_024
        let session = AMQPSession.Configuration(incomingCapacity: 2_048)
        try await withSession(configuration: configuration, session: session) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await peer.run { peer in
                peer.toPeer.allowance = 0
                for _ in 0..<10 { peer.send(payload(20_000), on: peer.links[0]) }
            }
            let ending = begin { try await session.close().check() }
            await peer.settle()
            try await peer.run { $0.toPeer.allowance = nil }
            try await ending.value
            #expect(receiver.error != nil)
            #expect(session.connection.error == nil)
            let next = try await session.connection.openSession(.init(incomingCapacity: 2_048))
            let other = try await next.openReceiver(from: "q")
            try await peer.run { _ = $0.send(payload(9_000), on: $0.links[1]) }
            #expect(try await other.next()?.payload == payload(9_000))
        }
    }

    /// The same with the only link of the session.
    @Test(arguments: [false, true])
    func closingTheOnlyLinkWhileMessagesArrive(detaches: Bool) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 1_024
        let session = AMQPSession.Configuration(incomingCapacity: 2_048)
        try await withSession(configuration: configuration, session: session) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await peer.run { peer in
                peer.toPeer.allowance = 0
                for _ in 0..<10 { peer.send(payload(20_000), on: peer.links[0]) }
            }
            let closing = begin { detaches ? try await receiver.detach().check() : try await receiver.close().check() }
            await peer.settle()
            try await peer.run { $0.toPeer.allowance = nil }
            try await closing.value
            #expect(session.connection.error == nil)
            let other = try await session.openReceiver(from: "q")
            try await peer.run { _ = $0.send(payload(9_000), on: $0.links[1]) }
            #expect(try await other.next()?.payload == payload(9_000))
        }
    }
}
