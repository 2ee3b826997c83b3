internal import NIOCore

/// Runs the parts of a lifetime that is a scope.
enum Scope {
    /// How long the end of a scope may take when its task is cancelled.
    static let cancelled = Duration.seconds(1)

    /// How the end of a scope went.
    struct End: Sendable {
        var unsent = 0
        var unsettled = 0
        var error: AMQPError?
        /// Whether the end sent messages.
        var isFlushed = true

        init(_ unfinished: [AMQPUnfinished] = [], isFlushed: Bool = true, error: AMQPError?) {
            self.isFlushed = isFlushed
            self.unsent = unfinished.reduce(0) { $0 + $1.unsent.count }
            self.unsettled = unfinished.reduce(0) { $0 + $1.unsettled.count }
            self.error = error
        }

        /// What the scope throws when its body did not.
        func check(_ scope: AMQPError.Scope) throws(AMQPError) {
            guard self.unsent + self.unsettled > 0 else {
                if let error = self.error { throw error }
                return
            }
            let count = "\(self.unsent) messages not sent, \(self.unsettled) sent but not settled"
            let late = "the peer did not take and settle them in time"
            let cause = self.error.map { "\($0)" } ?? (self.isFlushed ? late : "flush is .none: nothing more was sent")
            let condition = self.error?.condition ?? (self.isFlushed ? .timeout : .closed)
            throw AMQPError(scope: scope, condition: condition, detail: "\(count) at the end of the scope: \(cause)")
        }
    }

    /// Runs `body`, then `close`. An error of `body` goes first.
    static func run<Result>(
        _ scope: AMQPError.Scope,
        _ body: () async throws -> Result,
        close: () async -> End
    ) async throws -> Result {
        let result: Result
        do {
            result = try await body()
        } catch {
            _ = await close()
            throw error
        }
        try await close().check(scope)
        return result
    }
}

extension AMQPConnection {
    /// Ends a scope: closes within the limit of `flush`, or shortly when the task is cancelled.
    func endScope<Rest: Sendable>(
        _ steps: CloseSteps<Rest>,
        _ flush: AMQPFlush,
        _ unfinished: (Rest) -> [AMQPUnfinished]
    ) async -> Scope.End {
        if let result = await self.close(steps, within: flush.limit, cancelled: Scope.cancelled) {
            return Scope.End(unfinished(result.rest), isFlushed: flush != .none, error: result.error)
        }
        // The connection is gone, and its socket nearly.
        let limit = flush.limit > .zero ? flush.limit : self.configuration.operationTimeout
        let reply = Reply<Void>()
        steps.answered.whenResolved { reply.resolve($0) }
        let text = "\(steps.what) did not finish within \(limit)"
        let timer = self.parts.channel.eventLoop.scheduleTask(in: .nanoseconds(limit.nanoseconds)) {
            _ = reply.resolve(.failure(AMQPError(condition: .timeout, detail: text)))
        }
        defer { timer.cancel() }
        _ = await Task { try? await reply.value() }.value
        if case .failure(let error)? = reply.answer { return Scope.End(error: error) }
        return Scope.End(error: nil)
    }
}
