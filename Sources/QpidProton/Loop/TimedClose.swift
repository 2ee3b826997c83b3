internal import NIOCore

/// What a close consists of.
struct CloseSteps: Sendable {
    /// The answer of the peer, for texts.
    let what: String
    /// What is left unfinished.
    let report: CloseReport
    /// Works for this time at most. Called again with a shorter time when the close is cut short.
    let work: @Sendable (ConnectionHandler, Duration, @escaping () -> Void) -> Void
    /// Closes, when the work has been done.
    let close: @Sendable (ConnectionHandler) -> Void
    /// The peer has answered, or what is closed is gone.
    let answered: Reply<Void>
    /// The limit is over and the peer has not answered.
    var giveUp: @Sendable (ConnectionHandler, AMQPError) -> Void = { _, _ in }
    /// The limit is over, and the loop takes no more work.
    var abandon: @Sendable () -> Void = {}
    /// What has ended when the peer does not answer; ``AMQPError/Scope/call`` where something waits for the answer still.
    var scope = AMQPError.Scope.call
    /// Adds what is known of a link that has ended already.
    var addEnded: @Sendable (ConnectionHandler?) -> Void = { _ in }
}

/// A close whose steps share one limit: the work before it and the wait for the peer's answer. Used on the event loop alone.
final class TimedClose {
    private let handler: ConnectionHandler
    private let steps: CloseSteps
    private let reply: Reply<AMQPCloseResult>
    /// The limit as the caller knows it, for texts.
    private let limit: Duration
    private var deadline: NIODeadline
    private var hasWorked = false
    /// When the work ends, whatever is left.
    private var workDeadline: NIODeadline?
    private var isLate = false
    private var isClosed = false
    private var isCancelled = false
    private var timer: LoopTimer?

    /// - Parameter limit: The time for all steps; zero for no work, and `operationTimeout` for the answer.
    init(
        _ handler: ConnectionHandler,
        _ steps: CloseSteps,
        within limit: Duration,
        _ reply: Reply<AMQPCloseResult>
    ) {
        self.handler = handler
        self.steps = steps
        self.reply = reply
        self.limit = limit > .zero ? limit : handler.configuration.operationTimeout
        self.deadline = handler.deadline(in: self.limit)
        steps.report.begin()
        steps.addEnded(handler)
        if limit > .zero {
            self.work(for: CloseLimit.work(within: limit))
        } else {
            self.hasWorked = true
            self.close()
        }
    }

    private func work(for limit: Duration) {
        self.workDeadline = self.handler.deadline(in: limit)
        self.steps.work(self.handler, limit) { self.worked() }
    }

    private func worked() {
        guard !self.hasWorked else { return }
        self.hasWorked = true
        self.isLate = self.workDeadline.map { $0 <= self.handler.eventLoop.now } ?? false
        // Not at once: this may be the middle of the end of a link.
        let bound = NIOLoopBound(self, eventLoop: self.handler.eventLoop)
        let eventLoop = self.handler.eventLoop
        self.handler.outbox.run(
            { _ in bound.value.close() },
            otherwise: { _ in eventLoop.execute { bound.value.close() } }
        )
    }

    private func close() {
        self.isClosed = true
        self.steps.close(self.handler)
        let bound = NIOLoopBound(self, eventLoop: self.handler.eventLoop)
        self.steps.answered.whenResolved { answer in
            // Given on the loop.
            if case .failure(let error) = answer { bound.value.end(error) } else { bound.value.end(nil) }
        }
        if self.isCancelled { self.end(.cancelled) }
        self.limitAnswer()
    }

    private func limitAnswer() {
        guard self.reply.answer == nil else { return }
        self.timer?.cancel()
        let operationTimeout = self.handler.configuration.operationTimeout
        let last = self.handler.deadline(in: operationTimeout)
        let limit = self.deadline <= last ? self.limit : operationTimeout
        self.timer = self.handler.schedule(at: min(self.deadline, last)) {
            let text = "the peer did not answer \(self.steps.what) within \(limit)"
            let error = AMQPError(scope: self.steps.scope, condition: .timeout, detail: text)
            self.end(error)
            self.steps.giveUp(self.handler, error)
        }
    }

    private func end(_ error: AMQPError?) {
        guard self.reply.answer == nil else { return }
        self.timer?.cancel()
        self.steps.report.end()
        let result = self.steps.report.result(error, isLate: self.isLate) { self.handler.unwritten(of: $0) }
        self.reply.resolve(.success(result))
    }

    /// The task was cancelled.
    ///
    /// - Parameter grace: The time that is left for all that has not been done; nil for no wait at all.
    func cancel(_ grace: Duration?) {
        guard self.reply.answer == nil else { return }
        self.deadline = min(self.deadline, self.handler.deadline(in: grace ?? .zero))
        self.isCancelled = grace == nil
        if !self.hasWorked {
            self.work(for: CloseLimit.work(within: grace ?? .zero))
        } else if self.isClosed {
            if self.isCancelled { self.end(.cancelled) } else { self.limitAnswer() }
        }
    }
}
