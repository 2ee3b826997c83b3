// SPDX-License-Identifier: Apache-2.0

/// The message whose first byte has arrived and whose end has not.
enum ArrivingMessage: Equatable {
    /// How far the received bytes of the message have been read out of Proton.
    enum Reading: Equatable {
        /// All received bytes have been read.
        case upToDate
        /// Some bytes stay in Proton, because the window or the stream buffer has no room for them.
        case heldBack
    }

    /// The last message is complete, and no byte of the next message has arrived.
    case none
    /// The receiver collects the bytes until the message is complete.
    case gathering(Reading)
    /// The application reads the message, identified by the sequence of its delivery, while it arrives.
    case streaming(UInt64, Reading)

    /// Whether a message has started, so that its credit is used.
    @inline(__always) var hasBegun: Bool {
        if case .none = self { false } else { true }
    }

    @inline(__always) var isHeldBack: Bool {
        switch self {
        case .none: false
        case .gathering(let reading), .streaming(_, let reading): reading == .heldBack
        }
    }

    /// Returns the same message in another reading state.
    func read(_ reading: Reading) -> Self {
        switch self {
        case .none: .none
        case .gathering: .gathering(reading)
        case .streaming(let sequence, _): .streaming(sequence, reading)
        }
    }
}
