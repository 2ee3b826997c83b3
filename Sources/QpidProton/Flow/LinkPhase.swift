// SPDX-License-Identifier: Apache-2.0

/// The phase of a link on this side.
enum LinkPhase: Equatable {
    /// The end of a link, and later events.
    enum End: Equatable {
        /// This side ended the link. The peer has not been notified, or need not answer.
        case here
        /// This side has detached, and the peer must answer.
        case detaching
        /// The peer has detached, with or without an error, first or as the answer.
        case byPeer
        /// The session or the connection has ended or is closing, and the link with it.
        case withAll
    }

    enum Event: CaseIterable {
        /// This side ends the link.
        case close
        /// Proton has the detach, and the peer must answer.
        case detach
        case peerDetach
        /// The session or the connection ends.
        case abandon
        /// Proton has freed the link.
        case free
    }

    case open
    /// The link has ended on this side. Proton has not freed it.
    case ended(End)
    case done

    /// Applies an event. A late event does not change the phase.
    mutating func take(_ event: Event) {
        switch (event, self) {
        case (.free, _): self = .done
        case (.close, .open): self = .ended(.here)
        case (.detach, .ended(.here)): self = .ended(.detaching)
        case (.peerDetach, .open), (.peerDetach, .ended(.here)), (.peerDetach, .ended(.detaching)):
            self = .ended(.byPeer)
        case (.abandon, .open), (.abandon, .ended): self = .ended(.withAll)
        case (.close, _), (.detach, _), (.peerDetach, _), (.abandon, .done): break
        }
    }

    @inline(__always) var isOpen: Bool { if case .open = self { true } else { false } }
    /// Whether the link has been freed.
    @inline(__always) var isDone: Bool { if case .done = self { true } else { false } }
    var isDetaching: Bool { self == .ended(.detaching) }
    var isEndedByPeer: Bool { self == .ended(.byPeer) }
    var isAbandoned: Bool { self == .ended(.withAll) }
}
