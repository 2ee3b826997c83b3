/// Work on the loop whose answer a task waits for.
extension Mailbox {
    /// Has the loop work on an answer, and waits for it. Cancellation ends the wait alone.
    func ask<Value: Sendable>(
        _ work: @escaping @Sendable (ConnectionHandler, Reply<Value>) -> Void
    ) async throws(AMQPError) -> Value {
        try await self.reply(work).value()
    }

    /// The same for an answer that comes soon, or soon after `cancel` has run, and must not be lost: a task that is cancelled
    /// waits for it too. Nil when the connection is gone.
    func answer<Value: Sendable>(
        _ work: @escaping @Sendable (ConnectionHandler, Reply<Value>) -> Void,
        onCancel cancel: (@Sendable (ConnectionHandler) -> Void)? = nil
    ) async -> Value? {
        let reply = self.reply(work)
        return await withTaskCancellationHandler {
            await Task { try? await reply.value() }.value
        } onCancel: {
            if let cancel { self.run(cancel) }
        }
    }

    private func reply<Value: Sendable>(
        _ work: @escaping @Sendable (ConnectionHandler, Reply<Value>) -> Void
    ) -> Reply<Value> {
        let reply = Reply<Value>()
        self.run({ work($0, reply) }, otherwise: { reply.resolve(.failure($0)) })
        return reply
    }
}
