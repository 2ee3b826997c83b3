// rooms: ConnectionHandler: the work that tasks post runs on the loop, which passes itself.

/// Work on the loop whose answer a task waits for.
extension Outbox {
    /// Has the loop work on an answer, and waits for it. Cancellation ends the wait alone.
    func ask<Value: Sendable>(
        _ work: @escaping @Sendable (ConnectionHandler, Reply<Value>) -> Void
    ) async throws(AMQPError) -> Value {
        try await self.reply(work).value()
    }

    /// The same for an answer that the loop gives at once and that must not be lost: a cancelled task waits for it too.
    func askAtOnce<Value: Sendable>(
        _ work: @escaping @Sendable (ConnectionHandler, Reply<Value>) -> Void
    ) async throws(AMQPError) -> Value {
        try await self.reply(work).finalAnswer().get()
    }

    /// The same for an answer that comes soon, or soon after `cancel` has run, and must not be lost: a task that is cancelled
    /// waits for it too. Nil when the connection is gone.
    func answer<Value: Sendable>(
        _ work: @escaping @Sendable (ConnectionHandler, Reply<Value>) -> Void,
        onCancel cancel: (@Sendable () -> Void)? = nil
    ) async -> Value? {
        let reply = self.reply(work)
        let answer = await withTaskCancellationHandler {
            await reply.finalAnswer()
        } onCancel: {
            cancel?()
        }
        return try? answer.get()
    }

    private func reply<Value: Sendable>(
        _ work: @escaping @Sendable (ConnectionHandler, Reply<Value>) -> Void
    ) -> Reply<Value> {
        let reply = Reply<Value>()
        self.run({ work($0, reply) }, otherwise: { reply.resolve(.failure($0)) })
        return reply
    }
}
