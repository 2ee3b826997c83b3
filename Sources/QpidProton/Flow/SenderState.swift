// SPDX-License-Identifier: Apache-2.0

/// The phase of a sender, and the treatment of its started message.
enum SenderState: Equatable {
    /// The state of the started message.
    enum Current: Equatable {
        /// The started message, if there is one, continues.
        case sending
        /// The started message is abandoned, but Proton does not have its abort, and would send the next bytes as its
        /// rest.
        case aborting
    }

    enum Event: CaseIterable {
        /// The sender is opened on this side.
        case open
        /// The sender accepts no more messages. The link closes when all messages are settled.
        case flush
        /// The started message is abandoned.
        case giveUp
        /// Proton has the abort of the message.
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
