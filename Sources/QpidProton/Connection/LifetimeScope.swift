// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The steps of the `with…` functions: the body, then the close.
enum LifetimeScope {
    /// How long the end of a scope may take when its task is cancelled.
    static let cancelled = Duration.seconds(1)

    /// Runs `body`, then `close`. An error of `body` takes precedence.
    ///
    /// - Parameter end: Returns the error that ended the connection, session or link; `nil` while it is open.
    static func run<Result>(
        _ scope: AMQPError.Scope,
        within limit: Duration,
        _ body: () async throws -> Result,
        end: () -> AMQPError?,
        close: () async -> AMQPCloseResult
    ) async throws -> Result {
        let result: Result
        do {
            result = try await body()
        } catch {
            _ = await close()
            throw error
        }
        let before = end()
        let closed = await close()
        // The peer may have ended the connection, session or link during the close.
        try closed.check(scope, within: limit, ended: before ?? end().flatMap { $0.origin == .peer ? $0 : nil })
        return result
    }
}

extension AMQPCloseResult {
    /// Throws the error of a scope whose body did not throw. A delivery without a decision is not an error.
    ///
    /// - Parameter ended: The error that ended the connection, session or link before the end of the scope.
    func check(_ scope: AMQPError.Scope, within limit: Duration, ended: AMQPError?) throws(AMQPError) {
        let (unsent, doubtful) = (self.notSent + self.notSentBefore, self.inDoubt + self.inDoubtBefore)
        let lost = unsent + doubtful + self.settlementsNotWritten + self.settlementsInDoubt
        guard lost > 0, let summary = self.summary else {
            if let error = self.error { throw error }
            return
        }
        var error = self.error ?? ended ?? Self.cause(within: limit, isLate: self.isLate)
        // The trackers of a link that ended earlier already report its cause. An error without a detail describes
        // itself by its condition.
        let isBefore = lost == self.notSentBefore + self.inDoubtBefore && self.error == nil && ended == nil
        let cause = isBefore || error.detail.isEmpty ? "" : ": \(error.detail)"
        error.detail = "unfinished at the end of the scope: \(summary)\(cause)"
        error.scope = self.error?.scope ?? ended?.scope ?? scope
        error.fate = doubtful > 0 ? .inDoubt : unsent > 0 ? .notSent : nil
        throw error
    }

    private static func cause(within limit: Duration, isLate: Bool) -> AMQPError {
        if Task.isCancelled { return AMQPError(condition: .cancelled, detail: "the task was cancelled") }
        if isLate {
            let text = "the peer did not accept and settle all messages within \(limit)"
            return AMQPError(condition: .timeout, detail: text)
        }
        let text = limit > .zero ? "a link ended before it had finished" : "closingWithin is zero"
        return AMQPError(condition: .closed, detail: text)
    }
}

extension AMQPConnection {
    /// Ends a scope within a limit, or within one second if the task is cancelled.
    func endScope(_ request: CloseRequest, within limit: Duration) async -> AMQPCloseResult {
        await self.close(request, within: limit, grace: LifetimeScope.cancelled)
    }
}
