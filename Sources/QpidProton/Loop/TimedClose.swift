// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A close whose two steps share one limit: the work before the close, and the wait for the peer's answer. Used on the
/// event loop only.
final class TimedClose {
    private let handler: ConnectionHandler
    private let request: CloseRequest
    private let reply: Reply<AMQPCloseResult>
    /// The caller's limit, for error texts.
    private let limit: Duration
    private var deadline: NIODeadline
    private var hasWorked = false
    /// The time at which the work ends, complete or not.
    private var workDeadline: NIODeadline?
    private var isLate = false
    private var isClosed = false
    private var isCancelled = false
    private var timer: LoopTimer?

    /// Runs a close.
    ///
    /// - Parameter limit: The time for all steps; zero closes at once, with `operationTimeout` for the answer.
    static func run(
        _ request: CloseRequest,
        within limit: Duration,
        _ call: CloseCall,
        on handler: ConnectionHandler
    ) {
        let close = TimedClose(request, within: limit, call.reply, on: handler)
        let bound = NIOLoopBound(close, eventLoop: handler.eventLoop)
        // The cancellation does not use the outbox, which closes with the connection.
        call.begin { [eventLoop = handler.eventLoop] grace in eventLoop.execute { bound.value.cancel(grace) } }
        close.start(limit)
    }

    private init(
        _ request: CloseRequest,
        within limit: Duration,
        _ reply: Reply<AMQPCloseResult>,
        on handler: ConnectionHandler
    ) {
        self.handler = handler
        self.request = request
        self.reply = reply
        self.limit = limit > .zero ? limit : handler.configuration.operationTimeout
        self.deadline = handler.deadline(in: self.limit)
    }

    private func start(_ limit: Duration) {
        self.request.report.begin()
        if case .receiver(let status, let ended) = self.request.target,
            self.handler.sessions.receiver(status)?.hasEnded ?? true
        {
            self.request.report.add(ended)
        }
        if limit > .zero {
            self.work(for: CloseLimit.work(within: limit))
        } else {
            self.hasWorked = true
            self.close()
        }
    }

    private func work(for limit: Duration) {
        self.workDeadline = self.handler.deadline(in: limit)
        switch self.request.target {
        case .connection:
            self.work(for: limit) { [handler] in handler.sessions.values.flatMap(\.links.values) }
        case .session(let status):
            self.work(for: limit) { [handler] in handler.sessions[status].map { Array($0.links.values) } ?? [] }
        case .sender(let status):
            guard let sender = self.handler.sessions.sender(status) else { return self.worked() }
            sender.flush(for: limit) { self.worked() }
        case .receiver(let status, _):
            guard let receiver = self.handler.sessions.receiver(status) else { return self.worked() }
            receiver.stop(for: limit) { self.worked() }
        }
    }

    private func work(for limit: Duration, on links: @escaping () -> [LinkEndpoint]) {
        guard self.request.stopsReceivers else { return self.flush(links(), for: limit) }
        self.finish(links, for: limit)
    }

    /// Flushes the senders of some links concurrently.
    private func flush(_ links: [LinkEndpoint], for limit: Duration) {
        let senders = links.compactMap { $0 as? SenderEndpoint }
        var left = senders.count
        guard left > 0 else { return self.worked() }
        for sender in senders {
            sender.flush(for: limit) {
                left -= 1
                if left == 0 { self.worked() }
            }
        }
    }

    /// Stops receivers concurrently, and flushes the senders in the rest of the limit, because handlers may send until
    /// their messages are settled.
    private func finish(_ links: @escaping () -> [LinkEndpoint], for limit: Duration) {
        let deadline = self.handler.deadline(in: limit)
        let flush = {
            let rest = Duration.nanoseconds(max(0, (deadline - self.handler.eventLoop.now).nanoseconds))
            self.flush(links(), for: rest)
        }
        let receivers = links().compactMap { $0 as? ReceiverEndpoint }
        var left = receivers.count
        guard left > 0 else { return flush() }
        for receiver in receivers {
            receiver.stop(for: limit) {
                left -= 1
                if left == 0 { flush() }
            }
        }
    }

    private func worked() {
        guard !self.hasWorked else { return }
        self.hasWorked = true
        self.isLate = self.workDeadline.map { $0 <= self.handler.eventLoop.now } ?? false
        // The close follows later, because this call may be part of the end of a link.
        let bound = NIOLoopBound(self, eventLoop: self.handler.eventLoop)
        self.handler.eventLoop.execute {
            bound.value.close()
            bound.value.handler.pump()
        }
    }

    private func close() {
        self.isClosed = true
        let error = self.request.error
        switch self.request.target {
        case .connection: self.handler.close(error)
        case .session(let status): self.handler.sessions[status]?.close(error)
        case .sender(let status): self.handler.sessions.sender(status)?.close(error, detach: self.request.detaches)
        case .receiver(let status, _):
            self.handler.sessions.receiver(status)?.close(error, detach: self.request.detaches)
        }
        let bound = NIOLoopBound(self, eventLoop: self.handler.eventLoop)
        self.request.answered.whenResolved { answer in
            // The answer is set on the loop.
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
        self.timer = LoopTimer(of: self.handler, at: min(self.deadline, last)) {
            let text = "the peer did not answer \(self.request.what) within \(limit)"
            let error = AMQPError(scope: self.request.scope, condition: .timeout, detail: text)
            self.end(error)
            if case .connection = self.request.target { self.handler.die(error) }
        }
    }

    private func end(_ error: AMQPError?) {
        guard self.reply.answer == nil else { return }
        self.timer?.cancel()
        self.request.report.end()
        let result = self.request.report.result(error, isLate: self.isLate) {
            self.handler.decisionWrites.unwritten(of: $0, self.handler.writes)
        }
        self.reply.resolve(.success(result))
    }

    /// Handles the cancellation of the task.
    ///
    /// - Parameter grace: The remaining time for all unfinished work; `nil` for no wait.
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
