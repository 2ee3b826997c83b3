// SPDX-License-Identifier: Apache-2.0

import CProton
import TestSupport

@testable import QpidProton

/// The ways in which a receiver ends while messages wait in it.
enum LinkEnd: CaseIterable {
    case detach, detachWithError, sessionEnd, sessionError, connectionClose, connectionError, connectionLost
    case ownError, ownSessionEnd, ownConnectionClose

    /// The condition that a receiver reports; `nil` if the link was closed in order.
    var condition: AMQPCondition? {
        switch self {
        case .detach, .ownSessionEnd, .ownConnectionClose: nil
        case .detachWithError, .sessionError, .connectionError: "x:end"
        case .ownError: "x:own"
        case .connectionLost: .connectionLost
        case .sessionEnd, .connectionClose: .closed
        }
    }

    /// The words of a log line that name the end.
    var words: String {
        switch self {
        case .sessionEnd, .ownSessionEnd: "ended"
        case .connectionLost: "closed the socket"
        case .detach, .connectionClose, .ownConnectionClose: "closed"
        case .detachWithError, .sessionError, .connectionError: "x:end"
        case .ownError: "x:own"
        }
    }

    /// Whether the connection stays open.
    var isOfLink: Bool {
        switch self {
        case .detach, .detachWithError, .ownError, .sessionEnd, .sessionError, .ownSessionEnd: true
        case .connectionClose, .connectionError, .connectionLost, .ownConnectionClose: false
        }
    }

    /// Causes the end on the peer's first link.
    func run(_ receiver: AMQPReceiver, _ peer: InMemoryPeer) async throws {
        let end = self
        switch self {
        case .ownError: begin { try await receiver.close(AMQPError(scope: .link, condition: "x:own")).check() }
        case .ownSessionEnd: begin { try await receiver.session.close().check() }
        case .ownConnectionClose: begin { try await receiver.session.connection.close().check() }
        case .connectionLost: try await peer.loseConnection()
        default: try await peer.run { end.bring(about: $0) }
        }
        await peer.settle()
    }

    /// Performs the peer's part of the end.
    func bring(about peer: InMemoryPeer) {
        switch self {
        case .detachWithError: pn_condition_set_name(pn_link_condition(peer.links[0]), "x:end")
        case .sessionError: pn_condition_set_name(pn_session_condition(pn_link_session(peer.links[0])), "x:end")
        case .connectionError: pn_condition_set_name(pn_connection_condition(peer.connection), "x:end")
        default: break
        }
        switch self {
        case .detach, .detachWithError: pn_link_close(peer.links[0])
        case .sessionEnd, .sessionError: pn_session_close(pn_link_session(peer.links[0]))
        case .connectionClose, .connectionError: pn_connection_close(peer.connection)
        case .connectionLost, .ownError, .ownSessionEnd, .ownConnectionClose: break
        }
    }
}
