internal import Synchronization

/// A close: of what, and how.
struct CloseRequest: Sendable {
    enum Target: Sendable {
        case connection
        case session(SessionStatus)
        case sender(LinkStatus)
        /// With what is known of the receiver, should it have ended already.
        case receiver(LinkStatus, CloseReport.Receiver)
    }

    let target: Target
    /// The reason for the peer.
    var error: AMQPError?
    /// A link detaches, and does not close.
    var detaches = false
    /// The receivers of a connection or session stop before its senders are flushed.
    var stopsReceivers = true
    /// What is left unfinished.
    let report: CloseReport
    /// The peer has answered, or what is closed is gone.
    let answered: Reply<Void>

    /// The answer of the peer, for texts.
    var what: String {
        switch self.target {
        case .connection: "the close"
        case .session: "the end"
        case .sender, .receiver: "the detach"
        }
    }

    /// What has ended when the peer does not answer; ``AMQPError/Scope/call`` where something waits for the answer still.
    var scope: AMQPError.Scope {
        if case .connection = self.target { .connection } else { .call }
    }
}

/// A call of a close: its answer, and the cancellation of its task.
final class CloseCall: Sendable {
    private enum State: Sendable {
        case waiting
        /// The task was cancelled before the loop began the close.
        case cancelled(grace: Duration?)
        case running(@Sendable (Duration?) -> Void)
    }

    let reply = Reply<AMQPCloseResult>()
    private let state = Mutex(State.waiting)

    /// The task was cancelled.
    ///
    /// - Parameter grace: The time that is left for the close; `nil` for no wait at all.
    func cancel(_ grace: Duration?) {
        let cancel = self.state.withLock { state -> (@Sendable (Duration?) -> Void)? in
            if case .running(let cancel) = state { return cancel }
            state = .cancelled(grace: grace)
            return nil
        }
        cancel?(grace)
    }

    /// The loop has begun the close, and `cancel` cuts it short. Called at once if the task was cancelled before.
    func begin(_ cancel: @escaping @Sendable (Duration?) -> Void) {
        let before = self.state.withLock { state -> State in
            defer { state = .running(cancel) }
            return state
        }
        if case .cancelled(let grace) = before { cancel(grace) }
    }
}
