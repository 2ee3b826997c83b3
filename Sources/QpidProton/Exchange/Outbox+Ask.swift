// SPDX-License-Identifier: Apache-2.0

/// Commands for whose answer a task waits.
extension Outbox {
    /// Posts a command and waits for its answer. Cancellation ends only the wait.
    func ask<Value: Sendable>(_ command: (Reply<Value>) -> Command) async throws(AMQPError) -> Value {
        try await self.reply(command).value()
    }

    /// Posts a command and waits for an immediate answer that must not be lost. A cancelled task waits for the answer
    /// too.
    func askAtOnce<Value: Sendable>(_ command: (Reply<Value>) -> Command) async throws(AMQPError) -> Value {
        try await self.reply(command).finalAnswer().get()
    }

    private func reply<Value: Sendable>(_ command: (Reply<Value>) -> Command) -> Reply<Value> {
        let reply = Reply<Value>()
        if !self.post(command(reply)) { reply.resolve(.failure(self.closedError)) }
        return reply
    }
}
