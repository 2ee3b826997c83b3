// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

/// Creates messages without a connection, and releases their memory after the test.
final class MadeMessages {
    private var outcomes = OutcomeSource()
    private var messages: [PendingMessage] = []
    private var nodes = SlotMap<Int>()

    func make(_ bytes: Int, _ reply: ((OutcomeReply) -> Void)? = nil) -> PendingMessage {
        let outcome = self.outcomes.next()
        reply?(outcome.reply)
        let node = self.nodes.insert(bytes)
        let message = PendingMessage(
            bytes: MessageChunk.message(payload(bytes)),
            outcome: outcome.promise,
            lane: node,
            node: node,
            isSettled: false
        )
        self.messages.append(message)
        return message
    }

    /// Forgets a message whose bytes are already released.
    func isGone(_ message: PendingMessage) {
        self.messages.removeAll { $0.node == message.node }
        message.outcome.resolve(.failure(.cancelled))
    }

    deinit {
        for message in self.messages { message.fail(.cancelled) }
        self.outcomes.close()
    }
}
