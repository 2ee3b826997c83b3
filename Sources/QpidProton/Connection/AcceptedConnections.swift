// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The open connections of a listener, without strong references.
final class AcceptedConnections: Sendable {
    private struct Accepted: Sendable {
        weak var connection: AMQPConnection?
    }

    private let accepted = Mutex<[ObjectIdentifier: Accepted]>([:])

    var all: [AMQPConnection] { self.accepted.withLock { $0.values.compactMap(\.connection) } }

    /// Adds a connection until it has closed.
    func add(_ connection: AMQPConnection, until closed: Reply<Void>) {
        let id = ObjectIdentifier(connection)
        self.accepted.withLock { $0[id] = Accepted(connection: connection) }
        closed.whenResolved { [weak self] _ in
            _ = self?.accepted.withLock { $0.removeValue(forKey: id) }
        }
    }
}
