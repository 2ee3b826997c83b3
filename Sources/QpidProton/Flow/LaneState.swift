// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The cause that blocks the bytes of a link, in a form that the loop writes and any task reads.
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

/// The work of a lane, and its missing resources.
struct LaneState {
    var isEmpty = true
    var isMidMessage = false
    var credit = 0
    /// Whether the peer would grant more credit if it settled sent messages.
    var isCapped = false
    /// Whether the peer has revoked the credit of the started message.
    var isHeld = false
    /// Whether the window of the session is closed.
    var isBlocked = false
    /// Whether the rate limit allows no more bytes now.
    var isPaced = false

    /// The cause for which the bytes of the link wait.
    ///
    /// Without another cause the bytes wait for the socket, even if the lane is empty because Proton has all bytes.
    var cause: LaneCause {
        if self.isEmpty { return .socket }
        if self.isMidMessage ? self.isHeld : self.credit == 0 { return self.isCapped ? .unsettled : .credit }
        if self.isBlocked { return .remoteWindow }
        return self.isPaced ? .rate : .socket
    }
}
