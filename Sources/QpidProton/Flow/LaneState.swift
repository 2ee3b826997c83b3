internal import Synchronization

/// Why the bytes of a link do not leave, in a form that the loop writes and any task reads.
enum LaneCause: UInt8, AtomicRepresentable {
    case socket, credit, remoteWindow, rate, unsettled

    var blockCause: AMQPBlockCause {
        switch self {
        case .socket: .socket
        case .credit: .credit
        case .remoteWindow: .remoteWindow
        case .rate: .rate
        case .unsettled: .unsettled
        }
    }
}

/// What a lane of the send queue has, and what it lacks.
struct LaneState {
    var isEmpty = true
    var isMidMessage = false
    var credit = 0
    /// There would be more credit, had the peer settled what was sent.
    var isCapped = false
    /// The peer has taken back the credit of the message that has begun.
    var isHeld = false
    /// The window of the session is closed.
    var isBlocked = false
    /// The rate limit allows no more now.
    var isPaced = false

    /// What the bytes of the link wait for.
    ///
    /// Where nothing else is lacking it is the socket: also for an empty lane, all of whose bytes have been handed over.
    var cause: LaneCause {
        if self.isEmpty { return .socket }
        if self.isMidMessage ? self.isHeld : self.credit == 0 { return self.isCapped ? .unsettled : .credit }
        if self.isBlocked { return .remoteWindow }
        return self.isPaced ? .rate : .socket
    }
}
