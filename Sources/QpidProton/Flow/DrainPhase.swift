// SPDX-License-Identifier: Apache-2.0

/// The phase of a drain, in which the peer uses or returns its credit. Source: AMQP 1.0 §2.6.7.
enum DrainPhase: Equatable {
    case none
    /// The peer has not answered.
    case requested
    /// The peer returned this credit while a message was arriving. The drain ends after that message.
    case answered(Int)
    /// The drain has ended. The receiver grants no credit until the tasks have the received messages and the answer.
    case ending

    /// Whether the peer's answer, or the end of the message before the answer, is outstanding.
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
    /// The loop must request the peer's credit.
    case request
    /// The peer returned this credit after the drain was abandoned.
    case late(Int)
    /// The drain has ended. The peer returned this credit.
    case end(Int)
}

/// The purpose for which a receiver is open.
enum ReceivePurpose: Equatable {
    case receiving
    /// The application has paused the receiver.
    case paused
    /// The receiver closes when the application has settled its messages. More messages may arrive.
    case stopping
    /// The receiver closes when the application has settled its messages. No more messages arrive.
    case stopped

    var isStopping: Bool { self == .stopping || self == .stopped }
}
