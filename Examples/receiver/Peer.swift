// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton
import Synchronization

/// The sending peer: its connection and link.
struct Peer: Sendable {
    let way: Way
    let receiver: any Inlet
    var isServer = false

    /// Closes the link, the session and the connection. Cancellation of the task does not affect the close.
    func close(within limit: Duration) async throws {
        guard let link = self.receiver as? AMQPReceiver else { return try await self.way.close(within: limit) }
        let (connection, isServer) = (link.session.connection, self.isServer)
        try await Closing.run(within: limit) {
            if link.error == nil { try await link.close().check() }
            // A connecting sender closes its own connection, because it may still wait for the last outcomes.
            if isServer { await Self.wait(for: connection, .seconds(5)) }
            if link.session.error == nil { try await link.session.close().check() }
            // The connection may already have ended. The socket must accept its last bytes before the program exits.
            let hasEnded = connection.error != nil
            let result = await connection.close()
            if !hasEnded { try result.check() }
        }
    }

    private static func wait(for connection: AMQPConnection, _ limit: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await connection.waitUntilClosed() }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }
}

/// Waits at a listener for the first sender.
///
/// A connection without AMQP never reaches the doorman. If a connection attaches no sender, the doorman answers its
/// requests and waits for another connection.
struct Doorman: Sendable {
    /// The address that the sender must name; `nil` for any address.
    let address: String?
    let session: AMQPSession.Configuration
    let configuration: AMQPReceiver.Configuration

    func firstSender(at listener: AMQPListener, within limit: Duration?) async throws -> Peer {
        let (peers, found) = AsyncStream.makeStream(of: Peer.self)
        return try await withThrowingTaskGroup(of: Peer?.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                await self.serveAll(listener, found)
                return nil
            }
            group.addTask {
                for await peer in peers { return peer }
                return nil
            }
            if let limit {
                group.addTask {
                    try await Task.sleep(for: limit)
                    throw Failure("no sender attached within \(limit.inSeconds) s")
                }
            }
            guard let peer = try await group.next() ?? nil else {
                try Task.checkCancellation()
                throw Failure("no sender attached")
            }
            return peer
        }
    }

    /// Accepts connections until the task is cancelled.
    private func serveAll(_ listener: AMQPListener, _ found: AsyncStream<Peer>.Continuation) async {
        let isTaken = Taken()
        await withDiscardingTaskGroup { group in
            let connections = listener.makeAsyncIterator()
            while let connection = try? await connections.next(isolation: nil) {
                group.addTask {
                    guard let peer = try? await self.serve(connection, isTaken) else { return }
                    found.yield(peer)
                }
            }
        }
    }

    /// Answers a connection's requests until it has attached a sender.
    private func serve(_ connection: AMQPConnection, _ isTaken: Taken) async throws -> Peer? {
        for try await wish in connection.incoming {
            switch wish {
            case .session(let session): try await session.accept(self.session)
            case .sender(let sender):
                sender.refuse(
                    AMQPError(scope: .link, condition: .notAllowed, detail: "this container sends no messages")
                )
            case .receiver(let incoming):
                if let refusal = self.refusal(incoming.attach) {
                    incoming.refuse(refusal)
                } else if isTaken.take() {
                    let receiver = try await incoming.accept(self.configuration)
                    Task { try await Self.refuseAll(connection) }
                    return Peer(way: .connection(connection), receiver: receiver, isServer: true)
                } else {
                    incoming.refuse(
                        AMQPError(scope: .link, condition: .resourceLocked, detail: "another sender attached first")
                    )
                }
            }
        }
        return nil
    }

    /// Refuses all other requests of the chosen connection, until it closes.
    private static func refuseAll(_ connection: AMQPConnection) async throws {
        let refusal = AMQPError(scope: .link, condition: .resourceLocked, detail: "this container accepts one link")
        for try await wish in connection.incoming {
            switch wish {
            case .session(let session): session.refuse(refusal)
            case .sender(let sender): sender.refuse(refusal)
            case .receiver(let receiver): receiver.refuse(refusal)
            }
        }
    }

    private func refusal(_ attach: AMQPAttach) -> AMQPError? {
        guard let target = attach.target, !target.isDynamic else {
            return AMQPError(scope: .link, condition: .notImplemented, detail: "the target needs an address")
        }
        guard let address = self.address, target.address?.hasSameBytes(as: address) != true else { return nil }
        return AMQPError(scope: .link, condition: .notFound, detail: "this container has another address")
    }
}

/// Admits one connection.
private final class Taken: Sendable {
    private let isTaken = Atomic(false)
    func take() -> Bool { !self.isTaken.exchange(true, ordering: .relaxed) }
}
