internal import NIOCore

/// Runs the parts of a lifetime that is a scope.
enum Scope {
    /// How long the end of a scope may take when its task is cancelled.
    static let cancelled = Duration.seconds(1)

    /// Runs `body`, then `close`. An error of `body` goes first.
    static func run<Result>(
        _ scope: AMQPError.Scope,
        within limit: Duration,
        _ body: () async throws -> Result,
        close: () async -> AMQPCloseResult
    ) async throws -> Result {
        let result: Result
        do {
            result = try await body()
        } catch {
            _ = await close()
            throw error
        }
        try await close().check(scope, within: limit)
        return result
    }
}

extension AMQPCloseResult {
    /// Throws what a scope throws whose body did not throw. A delivery that the application left unsettled is no error.
    func check(_ scope: AMQPError.Scope, within limit: Duration) throws(AMQPError) {
        let lost = self.notSent + self.inDoubt + self.settlementsNotWritten + self.settlementsInDoubt
        guard lost > 0, let summary = self.summary else {
            if let error = self.error { throw error }
            return
        }
        let isCancelled = Task.isCancelled
        let late = limit > .zero ? "the peer did not take and settle all within \(limit)" : "closingWithin is zero"
        let cause = self.error.map { "\($0)" } ?? (isCancelled ? "the task was cancelled" : late)
        let usual: AMQPCondition = isCancelled ? .cancelled : limit > .zero ? .timeout : .closed
        throw AMQPError(
            scope: scope,
            condition: self.error?.condition ?? usual,
            detail: "unfinished at the end of the scope: \(summary): \(cause)",
            fate: self.inDoubt > 0 ? .inDoubt : self.notSent > 0 ? .notSent : nil
        )
    }
}

extension AMQPConnection {
    /// Ends a scope within a limit, or shortly when the task is cancelled.
    func endScope(_ steps: CloseSteps, within limit: Duration) async -> AMQPCloseResult {
        await self.close(steps, within: limit, grace: Scope.cancelled)
    }
}
