// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// Delivery-tags and message-formats of the application. Links without them store no tags.

extension SenderEndpoint {
    /// Starts the delivery of a message with options, or of any message on a link with chosen tags.
    ///
    /// Throws if the chosen tag is in use, or the message has expired.
    func makeChosenDelivery(_ message: PendingMessage) throws(AMQPError) -> ProtonDelivery? {
        let choice = try self.handler.choices.begin(message, at: self.handler.eventLoop.now)
        if let choice {
            self.begunChoice = choice
            if choice.isVisible, !self.tags.areKept { self.keepTags() }
        }
        guard self.tags.areKept else { return self.makePlainDelivery() }
        var tag = try self.tags.begin(choice?.tag, isSettled: message.isSettled)
        if let format = choice?.format, format != 0 {
            self.handler.frames.sendsFormats = true
            tag = MarkedTag.bytes(tag, format: format)
        }
        return tag.withUnsafeBytes { self.link.beginDelivery(tag: $0) }
    }

    private func keepTags() {
        self.tags.keep()
        for current in self.link.unsettled { self.tags.keep(current.tag) }
    }

    /// Frees the tag of a delivery that is about to be settled.
    @inline(__always)
    func freeTag(of delivery: ProtonDelivery) {
        if self.tags.areKept { self.tags.free(delivery.tag) }
    }

    /// Fails a message that may not start. One piece of the message has left the lane, and no piece is in Proton.
    func refuse(_ slice: SendQueue<SenderEndpoint>.Slice, _ error: AMQPError) {
        let message = slice.message
        var bytes = slice.ledgerBytes
        if slice.endsBytes { slice.bytes.done() }
        if !slice.isLast, let lane = self.lane, let (_, rest) = self.handler.sending.queue.dropCurrent(lane) {
            bytes += rest
        }
        self.handler.outbox.release([(bytes, message.node)])
        self.meter?.fail(error)
        message.outcome.resolve(.failure(error))
        // The credit of the message is free for the next message or a drain. A flush may have waited for the message.
        self.flowed()
        self.handler.isPumpNeeded = true
    }

    /// Returns the options of a waiting or started message.
    func options(of message: PendingMessage) -> AMQPSendOptions {
        guard message.hasChoice else { return AMQPSendOptions() }
        return (self.handler.choices[message] ?? self.begunChoice)?.options ?? AMQPSendOptions()
    }
}
