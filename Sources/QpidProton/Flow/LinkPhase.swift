/// How far the life of a link has come on this side.
enum LinkPhase: Equatable {
    /// What ended a link, or has happened to it since.
    enum End: Equatable {
        /// This side ended it, and the peer has not heard of it, or need not answer.
        case here
        /// This side has detached, and the peer is to answer.
        case detaching
        /// The peer has detached, in order or with an error: first, or in answer.
        case byPeer
        /// The session or the connection is gone, or closing, and the link with it.
        case withAll
    }

    enum Event: CaseIterable {
        /// This side ends the link.
        case close
        /// Proton was told to detach, and the peer has to answer.
        case detach
        case peerDetach
        /// The session or the connection ends.
        case abandon
        /// Proton has freed the link.
        case free
    }

    case open
    /// Ended on this side. Proton still has the link.
    case ended(End)
    case done

    /// Takes an event. An event that comes too late changes nothing.
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
