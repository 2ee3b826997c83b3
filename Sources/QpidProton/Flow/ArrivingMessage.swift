// SPDX-License-Identifier: Apache-2.0

/// The message whose first byte has arrived and whose end has not.
enum ArrivingMessage: Equatable {
    /// The extent to which its received bytes have been read out of Proton.
    enum Reading: Equatable {
        /// All of them.
        case upToDate
        /// Not all, because the window or the stream buffer has no room for the rest.
        case heldBack
    }

    /// The last message is complete, and no byte of the next one has arrived.
    case none
    /// Its bytes are collected until it is complete.
    case gathering(Reading)
    /// The application reads it while it arrives. It has the sequence of its delivery.
    case streaming(UInt64, Reading)

    /// A message has started: its credit is used.
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
