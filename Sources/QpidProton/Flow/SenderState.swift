/// How far the life of a sender has come, and what is to become of the message that has begun.
enum SenderState: Equatable {
    /// What keeps a sender from beginning the next message.
    enum Current: Equatable {
        /// Nothing but its queue: the message that has begun, if one has, goes on.
        case sending
        /// The message that has begun was given up, and Proton has not been told: it would take the next bytes for more of it.
        case aborting
    }

    enum Event: CaseIterable {
        /// The sender is opened on this side.
        case open
        /// No more messages are accepted: the link is closed when all are settled.
        case flush
        /// The message that has begun is given up.
        case giveUp
        /// Proton was told of it.
        case abort
        /// The link ends on this side.
        case end
    }

    case unopened
    case open(Current)
    case flushing(Current)
    case ended

    /// Takes an event. Returns whether it has changed anything.
    @discardableResult
    mutating func take(_ event: Event) -> Bool {
        let before = self
        switch (event, self) {
        case (.end, _): self = .ended
        case (.open, .unopened): self = .open(.sending)
        case (.flush, .open(let current)): self = .flushing(current)
        case (.giveUp, .open): self = .open(.aborting)
        case (.giveUp, .flushing): self = .flushing(.aborting)
        case (.abort, .open): self = .open(.sending)
        case (.abort, .flushing): self = .flushing(.sending)
        case (.open, _), (.flush, _), (.giveUp, _), (.abort, _): break
        }
        return self != before
    }

    @inline(__always) var isAborting: Bool {
        switch self {
        case .open(.aborting), .flushing(.aborting): true
        case .unopened, .open(.sending), .flushing(.sending), .ended: false
        }
    }
}
