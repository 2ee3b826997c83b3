// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A reference to an object on an event loop: a connection, a session, a link, a delivery.
///
/// Printing, `dump` and debuggers show only the description, because another thread can change the contents at the same
/// time. Two references to class instances are equal if both refer to the same instance.
public protocol AMQPReference: Sendable, CustomStringConvertible, CustomReflectable {}

extension AMQPReference {
    /// A mirror without children.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension AMQPReference where Self: AnyObject {
    /// Returns whether both references refer to the same object.
    public static func == (left: Self, right: Self) -> Bool { left === right }

    /// Hashes the identity of the object.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// Returns the last part of a description, for an ended object.
private func ending(_ error: AMQPError?) -> String { error.map { ", ended: \($0)" } ?? "" }

extension AMQPConnection: AMQPReference, Hashable {
    /// The container-id of the peer, and the error that ended the connection.
    public var description: String { "connection to \(self.peer.containerID.debugDescription)\(ending(self.error))" }
}

extension AMQPListener: AMQPReference, Hashable {
    /// The port.
    public var description: String { "listener on port \(self.port)" }
}

extension AMQPSession: AMQPReference, Hashable {
    /// The container-id of the peer, and the error that ended the session.
    public var description: String {
        "session with \(self.connection.peer.containerID.debugDescription)\(ending(self.error))"
    }
}

extension AMQPSender: AMQPReference, Hashable {
    /// The name, the address of the target, the credit, and the error that ended the link.
    public var description: String {
        let address = self.remoteTarget.address.map { " to \($0.debugDescription)" } ?? ""
        return "sender \(self.name)\(address), credit \(self.credit)\(ending(self.error))"
    }
}

extension AMQPReceiver: AMQPReference, Hashable {
    /// The name, the address of the source, the credit, and the error that ended the link.
    public var description: String {
        let address = self.remoteSource.address.map { " from \($0.debugDescription)" } ?? ""
        return "receiver \(self.name)\(address), credit \(self.credit)\(ending(self.error))"
    }
}

extension AMQPMemoryBudget: AMQPReference, Hashable {
    /// The bytes in use, and the limit.
    public var description: String { "\(self.used) of \(self.limit)" }
}

extension AMQPDelivery: AMQPReference {
    /// The delivery-tag in hex, and the number of bytes.
    public var description: String {
        "delivery 0x\(self.tag.hex), \(self.payload.readableBytes) bytes"
    }
}

extension AMQPTracker: AMQPReference {
    /// The outcome, the error, or a text for a message that is not settled yet.
    public var description: String {
        switch self.result {
        case nil: "not settled yet"
        case .success(let outcome): outcome.description
        case .failure(let error): error.description
        }
    }
}

extension AMQPIncomingSession: AMQPReference {
    /// A text for the peer's request for a session.
    public var description: String { "the peer begins a session" }
}

extension AMQPIncomingReceiver: AMQPReference {
    /// The link that the peer requests.
    public var description: String {
        let address = self.attach.target?.address.map { " to \($0.debugDescription)" } ?? ""
        return "the peer attaches the sender \(self.attach.name)\(address)"
    }
}

extension AMQPIncomingSender: AMQPReference {
    /// The link that the peer requests.
    public var description: String {
        let address = self.attach.source?.address.map { " from \($0.debugDescription)" } ?? ""
        return "the peer attaches the receiver \(self.attach.name)\(address)"
    }
}
