// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The frames of a peer in a dialogue with sessions, links, messages, a drain, dispositions and closes.
enum Dialogue {
    /// Returns the frames for a library in this role.
    static func frames(_ role: ConnectionHandler.Role) async throws -> [Frame] {
        Frame.parse(try await Self.bytes(role))
    }

    /// Returns the bytes from the protocol header on.
    ///
    /// - Parameter sizes: The sizes of the messages in each direction.
    static func bytes(_ role: ConnectionHandler.Role, sizes: [Int] = [0, 20, 70_000]) async throws -> ByteBuffer {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = role == .server
        var bytes = ByteBuffer()
        try await withPeer(role: role, configuration: configuration) { connection, peer in
            if role == .client {
                try await Self.talk(connection, peer, sizes)
            } else {
                try await Self.answer(connection, peer, sizes)
            }
            bytes = try await peer.run { $0.toLibrary.record }
        }
        return bytes
    }

    private static func talk(_ connection: AMQPConnection, _ peer: InMemoryPeer, _ sizes: [Int]) async throws {
        let session = try await connection.openSession()
        var source = AMQPSource(address: "q", filters: [.selector("a = 1")])
        source.capabilities = ["queue"]
        var receiving = AMQPReceiver.Configuration(source: source, window: .messages(4))
        receiving.name = "receiver"
        let receiver = try await session.openReceiver(receiving)
        var sending = AMQPSender.Configuration(target: "q")
        sending.name = "sender"
        let sender = try await session.openSender(sending)
        for size in sizes { _ = try await sender.enqueue(encoded: payload(size)).outcome() }
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0]) }
        }
        for _ in sizes { try await receiver.next()?.accept() }
        await peer.settle()
        try await peer.run { pn_link_drain($0.links[1], 1) }
        try await receiver.close().check()
        try await session.close().check()
        try await connection.close().check()
    }

    private static func answer(_ connection: AMQPConnection, _ peer: InMemoryPeer, _ sizes: [Int]) async throws {
        try await peer.run { peer in
            guard let session = pn_session(peer.connection), let link = pn_sender(session, "in") else { return }
            pn_session_open(session)
            pn_terminus_set_address(pn_link_target(link), "q")
            pn_link_open(link)
            peer.links = [link]
        }
        var incoming = connection.incoming.makeAsyncIterator()
        guard case .session(let session)? = try await incoming.next() else { throw Unexpected(what: "no session") }
        try await session.accept()
        guard case .receiver(let wish)? = try await incoming.next() else { throw Unexpected(what: "no link") }
        let receiver = try await wish.accept()
        try await peer.run { peer in
            for size in sizes { peer.send(payload(size), on: peer.links[0]) }
        }
        for _ in sizes { try await receiver.next()?.accept() }
        try await peer.run { peer in
            pn_link_close(peer.links[0])
            pn_connection_close(peer.connection)
        }
    }
}
