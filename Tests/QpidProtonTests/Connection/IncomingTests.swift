// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The library as the server: it accepts or refuses a peer's sessions and links.
@Suite(.deadline)
struct IncomingTests {
    private static func configuration(limit: Int = 1_024) -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = true
        configuration.incomingLimit = limit
        return configuration
    }

    /// Begins sessions with links from the peer's side.
    private func open(_ peer: InMemoryPeer, sessions: Int = 1, senders: [String] = [], receivers: [String] = [])
        async throws
    {
        try await peer.run { peer in
            for _ in 0..<sessions {
                guard let session = pn_session(peer.connection) else { return }
                pn_session_open(session)
                peer.sessions.append(session)
                for name in senders {
                    guard let link = pn_sender(session, name) else { return }
                    pn_terminus_set_address(pn_link_target(link), name)
                    pn_link_open(link)
                    peer.links.append(link)
                }
                for name in receivers {
                    guard let link = pn_receiver(session, name) else { return }
                    pn_terminus_set_address(pn_link_source(link), name)
                    pn_link_open(link)
                    pn_link_flow(link, 10)
                    peer.links.append(link)
                }
            }
        }
    }

    @Test func acceptsSessionsAndLinksAndMovesMessages() async throws {
        try await withPeer(role: .server, configuration: Self.configuration()) { connection, peer in
            try await self.open(peer, senders: ["in"], receivers: ["out"])
            var incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next() else { throw Unexpected(what: "no session") }
            try await session.accept()
            guard case .receiver(let wish)? = try await incoming.next() else { throw Unexpected(what: "no receiver") }
            #expect(wish.attach.name == "in")
            #expect(wish.attach.target?.address == "in")
            let receiver = try await wish.accept()
            #expect(receiver.remoteTarget.address == "in")
            guard case .sender(let other)? = try await incoming.next() else { throw Unexpected(what: "no sender") }
            #expect(other.attach.source?.address == "out")
            let sender = try await other.accept()
            // Each request is accepted only once, because a second opening would share the link with the first.
            await expectError(.illegalState) { try await session.accept() }
            await expectError(.illegalState) { try await wish.accept() }
            await expectError(.illegalState) { try await other.accept() }
            try await peer.run { _ = $0.send(payload(5), on: $0.links[0]) }
            let delivery = try #require(try await receiver.next())
            #expect(delivery.payload == payload(5))
            delivery.accept()
            #expect(try await sender.enqueue(encoded: payload(6)).outcome() == .accepted)
            #expect(try await peer.run { $0.received.map(\.bytes) } == [payload(6)])
            try await peer.run { pn_connection_close($0.connection) }
            #expect(try await incoming.next() == nil)
        }
    }

    @Test func refusesSessionsAndLinks() async throws {
        try await withPeer(role: .server, configuration: Self.configuration()) { connection, peer in
            try await self.open(peer, senders: ["in"], receivers: ["out"])
            try await self.open(peer)
            var incoming = connection.incoming.makeAsyncIterator()
            var sessions = 0
            for _ in 0..<4 {
                switch try await incoming.next() {
                case .session(let session):
                    sessions += 1
                    if sessions == 2 {
                        session.refuse(AMQPError(scope: .session, condition: "x:no-session"))
                    } else {
                        try await session.accept()
                    }
                case .receiver(let wish):
                    wish.refuse(AMQPError(scope: .link, condition: .notFound, detail: "no such target"))
                case .sender(let wish): wish.refuse(AMQPError(scope: .link, condition: .unauthorizedAccess))
                case nil: Issue.record("the end")
                }
            }
            await peer.settle()
            try await peer.run { peer in
                let names = peer.links.map {
                    pn_condition_get_name(pn_link_remote_condition($0)).map { String(cString: $0) }
                }
                #expect(names == ["amqp:not-found", "amqp:unauthorized-access"])
                // A refusing attach has no terminus.
                #expect(pn_terminus_get_type(pn_link_remote_target(peer.links[0])) == PN_UNSPECIFIED)
                #expect(pn_terminus_get_type(pn_link_remote_source(peer.links[1])) == PN_UNSPECIFIED)
                let condition = pn_session_remote_condition(peer.sessions[1])
                #expect(pn_condition_get_name(condition).map { String(cString: $0) } == "x:no-session")
            }
            #expect(connection.error == nil)
        }
    }

    @Test func aClientRefusesTheSessionsOfItsPeer() async throws {
        try await withPeer { connection, peer in
            try await self.open(peer, senders: ["in"])
            try await peer.run { peer in
                #expect(pn_condition_is_set(pn_session_remote_condition(peer.sessions[0])))
            }
            #expect(connection.error == nil)
            #expect(try await connection.openSession().error == nil)
        }
    }

    @Test func theLimitOfWaitingRequestsIsEnforced() async throws {
        try await withPeer(role: .server, configuration: Self.configuration(limit: 5)) { connection, peer in
            try await self.open(peer, sessions: 20)
            let refused = try await peer.run { peer in
                peer.sessions.count { pn_condition_is_set(pn_session_remote_condition($0)) }
            }
            #expect(refused == 15)
            #expect(connection.error == nil)
        }
    }

    @Test func aWithdrawnRequestCannotBeAccepted() async throws {
        try await withPeer(role: .server, configuration: Self.configuration()) { connection, peer in
            try await self.open(peer, senders: ["in"])
            var incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next() else { throw Unexpected(what: "no session") }
            guard case .receiver(let wish)? = try await incoming.next() else { throw Unexpected(what: "no receiver") }
            await expectError(.illegalState) { try await wish.accept() }
            try await session.accept()
            try await peer.run { pn_link_close($0.links[0]) }
            await expectError(.closed) { try await wish.accept() }
            wish.refuse(AMQPError(scope: .link, condition: .notFound))
            await peer.settle()
            #expect(connection.error == nil)
        }
    }

    @Test func theEndOfTheConnectionEndsWaitingRequests() async throws {
        try await withPeer(role: .server, configuration: Self.configuration()) { connection, peer in
            try await self.open(peer)
            try await peer.loseConnection()
            // The session that no task has received can no longer be accepted.
            for _ in 0..<3 { await expectError(.connectionLost) { try await self.next(of: connection) } }
        }
    }

    private func next(of connection: AMQPConnection) async throws -> AMQPIncoming? {
        var incoming = connection.incoming.makeAsyncIterator()
        return try await incoming.next()
    }

    @Test func morePeerSessionsThanChannelsFailTheConnectionAlone() async throws {
        var configuration = Self.configuration()
        configuration.channelMax = 2
        try await withPeer(role: .server, configuration: configuration) { connection, peer in
            try await peer.run { peer in
                for channel in UInt16(0)..<5 {
                    try peer.inject(Frame(.begin, channel: channel, [.null, .uint(0), .uint(100), .uint(100)]))
                }
            }
            #expect(connection.error?.condition == .connectionFramingError)
        }
    }
}
