internal import NIOCore

/// What a close consists of.
struct CloseSteps<Rest: Sendable>: Sendable {
    /// The answer of the peer, for texts.
    let what: String
    /// Works for this time at most, and gives what is left. Called again with a shorter time when the close is cut short.
    let work: @Sendable (ConnectionHandler, Duration, @escaping (Rest) -> Void) -> Void
    /// Closes, when the work has been done.
    let close: @Sendable (ConnectionHandler) -> Void
    /// The peer has answered, or what is closed is gone.
    let answered: Reply<Void>
    /// The limit is over and the peer has not answered.
    var giveUp: @Sendable (ConnectionHandler, AMQPError) -> Void = { _, _ in }
}

/// How a close ended.
struct CloseResult<Rest: Sendable>: Sendable {
    let rest: Rest
    /// Why the peer's answer is missing, or the error in it.
    let error: AMQPError?
}

/// A close whose steps share one limit: the work before it and the wait for the peer's answer. Used on the event loop alone.
final class TimedClose<Rest: Sendable> {
    private let handler: ConnectionHandler
    private let steps: CloseSteps<Rest>
    private let reply: Reply<CloseResult<Rest>>
    private let limit: Duration
    private var deadline: NIODeadline
    private var rest: Rest?
    private var timer: LoopTimer?

    /// - Parameter limit: The time for all steps; zero for no work, and `operationTimeout` for the answer.
    init(
        _ handler: ConnectionHandler,
        _ steps: CloseSteps<Rest>,
        within limit: Duration,
        _ reply: Reply<CloseResult<Rest>>
    ) {
        self.handler = handler
        self.steps = steps
        self.reply = reply
        let operationTimeout = handler.configuration.operationTimeout
        self.limit = limit > .zero ? limit : operationTimeout
        self.deadline = handler.deadline(in: self.limit)
        self.work(for: CloseLimit.work(within: max(.zero, limit)))
    }

    private func work(for limit: Duration) {
        self.steps.work(self.handler, limit) { self.worked($0) }
    }

    private func worked(_ rest: Rest) {
        guard self.rest == nil else { return }
        self.rest = rest
        // Not at once: this may be the middle of the end of a link.
        let bound = NIOLoopBound(self, eventLoop: self.handler.eventLoop)
        let reply = self.reply
        self.handler.mailbox.run(
            { _ in bound.value.close() },
            otherwise: { reply.resolve(.success(CloseResult(rest: rest, error: $0))) }
        )
    }

    private func close() {
        self.steps.close(self.handler)
        let bound = NIOLoopBound(self, eventLoop: self.handler.eventLoop)
        self.steps.answered.whenResolved { answer in
            // Given on the loop.
            if case .failure(let error) = answer { bound.value.end(error) } else { bound.value.end(nil) }
        }
        self.limitAnswer()
    }

    private func limitAnswer() {
        guard self.reply.answer == nil else { return }
        self.timer?.cancel()
        let last = self.handler.deadline(in: self.handler.configuration.operationTimeout)
        self.timer = self.handler.schedule(at: min(self.deadline, last)) {
            let text = "the peer did not answer \(self.steps.what) within \(self.limit)"
            let error = AMQPError(condition: .timeout, detail: text)
            self.end(error)
            self.steps.giveUp(self.handler, error)
        }
    }

    private func end(_ error: AMQPError?) {
        guard let rest = self.rest else { return }
        self.timer?.cancel()
        self.reply.resolve(.success(CloseResult(rest: rest, error: error)))
    }

    /// Leaves no more than this time for all that has not been done.
    func shorten(to limit: Duration) {
        guard self.reply.answer == nil else { return }
        self.deadline = min(self.deadline, self.handler.deadline(in: limit))
        if self.rest == nil { self.work(for: CloseLimit.work(within: limit)) }
        if self.timer != nil { self.limitAnswer() }
    }
}

extension AMQPConnection {
    /// Runs a close within a limit. A task that is cancelled leaves it `cancelled` of the time, and waits for its end too.
    ///
    /// - Returns: How it ended; nil when the connection is gone.
    func close<Rest: Sendable>(
        _ steps: CloseSteps<Rest>,
        within limit: Duration,
        cancelled: Duration = .zero
    ) async -> CloseResult<Rest>? {
        let close = NIOLoopBoundBox<TimedClose<Rest>?>.makeEmptyBox(
            valueType: TimedClose<Rest>.self,
            eventLoop: self.parts.channel.eventLoop
        )
        return await self.mailbox.answer {
            close.value = TimedClose($0, steps, within: limit, $1)
        } onCancel: { _ in
            close.value?.shorten(to: cancelled)
        }
    }
}
