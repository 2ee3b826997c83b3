/// How far a drain has got: the peer uses its credit or returns it. Source: AMQP 1.0 §2.6.7.
enum DrainPhase: Equatable {
    case none
    /// The peer has not answered.
    case requested
    /// The peer returned this credit while a message was arriving. The drain ends behind that message.
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

/// What follows from an event of a drain.
enum DrainStep: Equatable {
    case none
    /// The peer is to be asked for its credit.
    case request
    /// Credit came back for a drain that had been given up.
    case late(Int)
    /// The drain has ended. The peer returned this credit.
    case end(Int)
}

/// What a receiver is open for.
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
