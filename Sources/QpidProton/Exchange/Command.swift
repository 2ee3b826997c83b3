// SPDX-License-Identifier: Apache-2.0

/// Work that a task posts to the event loop of its connection: a plain value that names its object by a key.
///
/// The loop finds the object by the key. If the object has ended, the loop answers the command with the cause.
indirect enum Command: Sendable {
    case connection(ConnectionCommand)
    case session(SessionStatus, SessionCommand)
    case sender(LinkStatus, SenderCommand)
    case receiver(LinkStatus, ReceiverCommand)
}

enum ConnectionCommand: Sendable {
    case close(AMQPError?)
    /// Runs a close with its steps, within a limit.
    case run(CloseRequest, within: Duration, CloseCall)
    /// Opens a session. The answer follows at once; the session's status holds the answer of the peer.
    case openSession(AMQPSession.Configuration, within: Duration?, Reply<OpenedSession>)
    /// Waits until the settlement of a delivery has a result.
    case awaitSettlement(Settler, SlotKey, sequence: UInt64, Reply<AMQPSettlementResult>)
    case snapshot(Reply<AMQPConnectionSnapshot>)
    /// Reports long blocks of a link, or of all links.
    case observeFlow(AsyncStream<AMQPFlowEvent>.Continuation, after: Duration, link: String?)
    case endObservingFlow(UInt64)
    /// The shared budget has fallen below its low mark.
    case receiveBudgetHasRoom
    /// The shared budget has room for a read.
    case receiveBudgetIsReadable
}

enum SessionCommand: Sendable {
    case close(AMQPError?)
    case accept(AMQPSession.Configuration, Reply<OpenedSession>)
    case openSender(AMQPSender.Configuration, within: Duration?, Reply<OpenedSender>)
    case openReceiver(AMQPReceiver.Configuration, within: Duration?, Reply<OpenedReceiver>)
    case snapshot(Reply<AMQPSessionSnapshot>)
}

enum SenderCommand: Sendable {
    case close(AMQPError?)
    case accept(AMQPSender.Configuration, Reply<AcceptedSender>)
    /// Withdraws a message that has not started.
    case cancel(OutcomeReply, Reply<Void>)
    /// Abandons a message that is created while it is sent.
    case abort(OutcomeReply, AMQPError, Reply<Void>)
    /// Makes room for the first waiting message by dropping older messages.
    case makeRoom(isAgain: Bool)
    case setRate(AMQPRateLimit?)
    case snapshot(Reply<AMQPLinkSnapshot>)
}

enum ReceiverCommand: Sendable {
    case close(AMQPError?)
    case accept(AMQPReceiver.Configuration, Reply<AcceptedReceiver>)
    case grant(Int)
    case pause(Reply<Int>)
    case resume
    case drain(Reply<Int>, within: Duration)
    /// Ends the wait for a message at a timeout.
    case limitWait(UInt64, Duration)
    /// Reports read pieces of a streamed message, named by its sequence.
    case read(pieces: Int, of: UInt64)
    /// Reports that no task can read the rest of a streamed message.
    case discard(UInt64)
    case setRate(AMQPRateLimit?)
    case snapshot(Reply<AMQPLinkSnapshot>)
}

extension SenderCommand {
    /// Answers a command whose sender has ended.
    func fail(_ error: AMQPError) {
        switch self {
        case .accept(_, let reply): reply.resolve(.failure(error))
        case .snapshot(let reply): reply.resolve(.failure(error))
        // The end of the link has answered every message.
        case .cancel(_, let reply), .abort(_, _, let reply): reply.resolve(.success(()))
        case .close, .makeRoom, .setRate: break
        }
    }
}

extension ReceiverCommand {
    /// Answers a command whose receiver has ended.
    func fail(_ error: AMQPError) {
        switch self {
        case .accept(_, let reply): reply.resolve(.failure(error))
        case .pause(let reply), .drain(let reply, _): reply.resolve(.failure(error))
        case .snapshot(let reply): reply.resolve(.failure(error))
        case .close, .grant, .resume, .limitWait, .read, .discard, .setRate: break
        }
    }
}

extension SessionCommand {
    /// Answers a command whose session has ended.
    func fail(_ error: AMQPError) {
        switch self {
        case .accept(_, let reply): reply.resolve(.failure(error))
        case .openSender(_, _, let reply): reply.resolve(.failure(error))
        case .openReceiver(_, _, let reply): reply.resolve(.failure(error))
        case .snapshot(let reply): reply.resolve(.failure(error))
        case .close: break
        }
    }
}
