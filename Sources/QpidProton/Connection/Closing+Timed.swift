internal import NIOCore

/// A call of a close, and whether its task was cancelled.
private struct CloseCall {
    var close: TimedClose?
    var isCancelled = false
}

extension AMQPConnection {
    /// Runs a close within a limit, and waits for its end.
    ///
    /// - Parameters:
    ///   - limit: The time for all steps; zero for no work before the close, and `operationTimeout` for the answer.
    ///   - grace: The time that a cancelled task leaves the close; nil for no wait at all.
    func close(_ steps: CloseSteps, within limit: Duration, grace: Duration? = nil) async -> AMQPCloseResult {
        let eventLoop = self.parts.channel.eventLoop
        let call = NIOLoopBoundBox.makeBoxSendingValue(CloseCall(), eventLoop: eventLoop)
        let limit = max(.zero, limit)
        let result = await self.outbox.answer {
            let close = TimedClose($0, steps, within: limit, $1)
            call.value.close = close
            if call.value.isCancelled { close.cancel(grace) }
        } onCancel: {
            // Not by the outbox, which is closed with the connection.
            eventLoop.execute {
                call.value.isCancelled = true
                call.value.close?.cancel(grace)
            }
        }
        if let result { return result }
        // The connection is gone, and its socket nearly.
        return await self.closed(steps, within: limit > .zero ? limit : self.configuration.operationTimeout)
    }

    /// Waits until what is closed is gone too, when its connection is.
    private func closed(_ steps: CloseSteps, within limit: Duration) async -> AMQPCloseResult {
        let reply = Reply<Void>()
        steps.answered.whenResolved { reply.resolve($0) }
        let text = "\(steps.what) did not finish within \(limit)"
        let timer = self.parts.channel.eventLoop.scheduleTask(in: .nanoseconds(limit.nanoseconds)) {
            let error = AMQPError(scope: steps.scope, condition: .timeout, detail: text)
            if reply.resolve(.failure(error)) { steps.abandon() }
        }
        defer { timer.cancel() }
        _ = await reply.finalAnswer()
        steps.addEnded(nil)
        if case .failure(let error)? = reply.answer { return steps.report.result(error) { _ in 0 } }
        return steps.report.result(nil) { _ in 0 }
    }
}
