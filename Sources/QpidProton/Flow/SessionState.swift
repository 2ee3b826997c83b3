// SPDX-License-Identifier: Apache-2.0

/// The phase of a session on this side, and whether its bytes may be sent.
enum SessionState: Equatable {
    enum Event: CaseIterable {
        /// The peer has begun the session.
        case peerBegin
        /// The peer's window has closed, or bytes of the session wait in Proton.
        case block
        case unblock
        /// This side ends a session that the peer has begun.
        case end
        /// This side ends a session that the peer has not begun.
        case endUnbegun
        /// Proton has freed the session, or the connection has ended.
        case free
    }

    /// This side has not ended the session.
    ///
    /// No message of a blocked session may enter Proton. Either the peer has not begun the session, its window
    /// is closed, or bytes in Proton could not be framed.
    case open(isBlocked: Bool)
    /// This side ended the session before the peer began it. The end is sent after the peer's begin.
    case endsWhenBegun
    case ended
    case done

    /// Applies an event. Returns whether it has changed the state.
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

    /// Whether no message may enter Proton.
    @inline(__always) var isBlocked: Bool { if case .open(isBlocked: false) = self { false } else { true } }
    @inline(__always) var isOpen: Bool { if case .open = self { true } else { false } }
    /// Whether the session has been freed.
    @inline(__always) var isDone: Bool { if case .done = self { true } else { false } }
}
