// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

extension AMQPConnection {
    /// Runs a close within a limit, and waits for its end.
    ///
    /// - Parameters:
    ///   - limit: The time for all steps; zero closes at once, with `operationTimeout` for the answer.
    ///   - grace: The remaining time of the close after a cancellation; `nil` for no wait.
    func close(_ request: CloseRequest, within limit: Duration, grace: Duration? = nil) async -> AMQPCloseResult {
        let call = CloseCall()
        let limit = max(.zero, limit)
        guard self.outbox.post(.connection(.run(request, within: limit, call))) else {
            // The connection has ended, and its socket closes now.
            return await self.closed(request, within: limit > .zero ? limit : self.configuration.operationTimeout)
        }
        // A cancelled task waits for the result too, because it arrives soon.
        let answer = await withTaskCancellationHandler {
            await call.reply.finalAnswer()
        } onCancel: {
            call.cancel(grace)
        }
        switch answer {
        case .success(let result): return result
        case .failure(let error): return request.report.result(error) { _ in 0 }
        }
    }

    /// Waits for the end of the connection too, if the close includes it.
    private func closed(_ request: CloseRequest, within limit: Duration) async -> AMQPCloseResult {
        let reply = Reply<Void>()
        request.answered.whenResolved { reply.resolve($0) }
        let text = "\(request.what) did not finish within \(limit)"
        let channel = self.parts.channel
        let timer = channel.eventLoop.scheduleTask(in: .nanoseconds(limit.nanoseconds)) {
            let error = AMQPError(scope: request.scope, condition: .timeout, detail: text)
            guard reply.resolve(.failure(error)), case .connection = request.target else { return }
            channel.close(promise: nil)
        }
        defer { timer.cancel() }
        _ = await reply.finalAnswer()
        if case .receiver(_, let ended) = request.target { request.report.add(ended) }
        if case .failure(let error)? = reply.answer { return request.report.result(error) { _ in 0 } }
        return request.report.result(nil) { _ in 0 }
    }
}
