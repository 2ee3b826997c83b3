// SPDX-License-Identifier: Apache-2.0

/// The part of a message to which bytes belong, on their way through the ledgers.
enum MessagePart: Sendable {
    case whole
    /// The start of the numbered message, which is created while it is sent.
    case first(UInt32)
    case middle(UInt32)
    case last(UInt32)

    /// Whether other bytes of the message have passed before.
    var follows: Bool {
        switch self {
        case .middle, .last: true
        case .whole, .first: false
        }
    }

    /// The number of a message that is created while it is sent; 0 for a whole message.
    var number: UInt32 {
        switch self {
        case .whole: 0
        case .first(let number), .middle(let number), .last(let number): number
        }
    }

    var isLast: Bool { if case .last = self { true } else { false } }
}
