// SPDX-License-Identifier: Apache-2.0

/// The phase of a sender, and the treatment of its started message.
enum SenderState: Equatable {
    /// The obstacle for the start of the next message.
    enum Current: Equatable {
        /// None but its queue: a started message continues.
        case sending
        /// The started message is abandoned, and Proton does not know: it would take the next bytes for its rest.
        case aborting
    }

    enum Event: CaseIterable {
        /// The sender is opened on this side.
        case open
        /// No more messages are accepted. The link closes when all are settled.
        case flush
        /// The started message is abandoned.
        case giveUp
        /// Proton knows that it is.
        case abort
        /// The link ends on this side.
        case end
    }

    case unopened
    case open(Current)
    case flushing(Current)
    case ended

    /// Applies an event. Returns whether it has changed the state.
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
