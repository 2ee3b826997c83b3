// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A close: its object and its kind.
struct CloseRequest: Sendable {
    enum Target: Sendable {
        case connection
        case session(SessionStatus)
        case sender(LinkStatus)
        /// A receiver, with its counts in case it has ended already.
        case receiver(LinkStatus, CloseReport.Receiver)
    }

    let target: Target
    /// The error that the close sends to the peer; `nil` for an orderly close.
    var error: AMQPError?
    /// Whether a link detaches instead of closing.
    var detaches = false
    /// Whether the receivers of a connection or session stop before its senders flush.
    var stopsReceivers = true
    /// The unfinished work.
    let report: CloseReport
    /// The answer of the peer, or the end of the object.
    let answered: Reply<Void>

    /// The name of the peer's answer, for error texts.
    var what: String {
        switch self.target {
        case .connection: "the close"
        case .session: "the end"
        case .sender, .receiver: "the detach"
        }
    }

    /// The scope of the error if the peer does not answer; ``AMQPError/Scope/call`` if the session or link still waits
    /// for the answer.
    var scope: AMQPError.Scope {
        if case .connection = self.target { .connection } else { .call }
    }
}

/// A call of a close: its answer, and the cancellation of its task.
final class CloseCall: Sendable {
    private enum State: Sendable {
        case waiting
        /// The task was cancelled before the loop started the close.
        case cancelled(grace: Duration?)
        case running(@Sendable (Duration?) -> Void)
    }

    let reply = Reply<AMQPCloseResult>()
    private let state = Mutex(State.waiting)

    /// Handles the cancellation of the task.
    ///
    /// - Parameter grace: The remaining time for the close; `nil` for no wait.
    func cancel(_ grace: Duration?) {
        let cancel = self.state.withLock { state -> (@Sendable (Duration?) -> Void)? in
            if case .running(let cancel) = state { return cancel }
            state = .cancelled(grace: grace)
            return nil
        }
        cancel?(grace)
    }

    /// Records that the loop has started the close. `cancel` shortens the close, and is called at once if the task was
    /// cancelled before.
    func begin(_ cancel: @escaping @Sendable (Duration?) -> Void) {
        let before = self.state.withLock { state -> State in
            defer { state = .running(cancel) }
            return state
        }
        if case .cancelled(let grace) = before { cancel(grace) }
    }
}
