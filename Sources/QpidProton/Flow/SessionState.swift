/// How far the life of a session has come on this side, and whether its bytes may leave.
enum SessionState: Equatable {
    enum Event: CaseIterable {
        /// The peer has begun the session.
        case peerBegin
        /// The peer's window has closed, or its bytes wait in Proton.
        case block
        case unblock
        /// This side ends the session, which the peer has begun.
        case end
        /// This side ends the session, which the peer has not begun.
        case endUnbegun
        /// Proton has freed the session, or the connection has ended.
        case free
    }

    /// Not ended on this side.
    ///
    /// Nothing of the session may be handed to Proton while it is blocked: because the peer has not begun it, its window is
    /// closed, or bytes wait in Proton that could not be framed.
    case open(isBlocked: Bool)
    /// Ended before the peer had begun it: the end is sent when it has.
    case endsWhenBegun
    case ended
    case done

    /// Takes an event. Returns whether it has changed anything.
    @discardableResult
    mutating func take(_ event: Event) -> Bool {
        let before = self
        switch (event, self) {
        case (.free, _): self = .done
        case (.block, .open): self = .open(isBlocked: true)
        case (.unblock, .open): self = .open(isBlocked: false)
        case (.end, .open): self = .ended
        case (.endUnbegun, .open): self = .endsWhenBegun
        case (.peerBegin, .endsWhenBegun): self = .ended
        case (.peerBegin, _), (.block, _), (.unblock, _), (.end, _), (.endUnbegun, _): break
        }
        return self != before
    }

    /// Whether nothing may be handed to Proton.
    @inline(__always) var isBlocked: Bool { if case .open(isBlocked: false) = self { false } else { true } }
    @inline(__always) var isOpen: Bool { if case .open = self { true } else { false } }
    /// Whether the session has been freed.
    @inline(__always) var isDone: Bool { if case .done = self { true } else { false } }
}
