// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

extension SenderEndpoint {
    /// Fails the messages that have not started in time: see ``AMQPSendOptions/expiresAfter``.
    func expire(at now: NIODeadline) {
        guard let lane = self.lane else { return }
        let expired = self.handler.sending.queue.removeAll(from: lane) { message in
            self.handler.choices[message]?.expiry(at: now) != nil
        }
        guard !expired.isEmpty else { return }
        self.handler.outbox.release(expired.map { ($0.ledgerBytes + lane.dropParts(of: $0), $0.node) })
        self.handler.logger.info(
            "messages expired before they started to leave",
            metadata: self.logMetadata([.messages: "\(expired.count)"])
        )
        for message in expired {
            guard let error = self.handler.choices.take(of: message)?.expiry(at: now) else { continue }
            self.meter?.fail(error)
            message.fail(error)
        }
        // A drain may have waited for the messages.
        self.answerDrain()
        self.noteCause()
    }
}
