// SPDX-License-Identifier: Apache-2.0

/// The phase of a drain: the peer uses its credit or returns it. Source: AMQP 1.0 §2.6.7.
enum DrainPhase: Equatable {
    case none
    /// The peer has not answered.
    case requested
    /// The peer returned this credit while a message was arriving. The drain ends after that message.
    case answered(Int)
    /// The drain has ended. Nothing is granted until the received messages and the answer have been handed over.
    case ending

    /// The peer's answer, or the end of the message before it, is outstanding.
    var isUnderWay: Bool {
        switch self {
        case .requested, .answered: true
        case .none, .ending: false
        }
    }
}

/// The consequence of an event for a drain.
enum DrainStep: Equatable {
    case none
    /// The peer must be asked for its credit.
    case request
    /// Credit returned for an abandoned drain.
    case late(Int)
    /// The drain has ended. The peer returned this credit.
    case end(Int)
}

/// The purpose for which a receiver is open.
enum ReceivePurpose: Equatable {
    case receiving
    /// The application paused it.
    case paused
    /// It closes when the application has settled its messages. More may arrive.
    case stopping
    /// It closes when the application has settled its messages. No more arrive.
    case stopped

    var isStopping: Bool { self == .stopping || self == .stopped }
}
