internal import NIOCore

extension SenderEndpoint {
    /// Accepts nothing more, goes on sending, and closes the link when all is settled or the time is over.
    ///
    /// - Parameter done: Called when the link has ended on this side.
    func flush(for limit: Duration, _ done: @escaping () -> Void) {
        guard self.lane != nil, let node = self.node, self.isLocallyOpen else { return done() }
        self.flushes.append(done)
        self.handler.outbox.closeLevel(node, .senderClosed)
        guard limit > .zero else { return self.close(nil) }
        let timer = self.handler.schedule(in: limit) { self.close(nil) }
        self.flushes.append { timer.cancel() }
        self.handler.flushing.append(self)
    }

    /// Closes the link if nothing is left to be done. Returns whether it is.
    func closeIfFlushed() -> Bool {
        guard let lane = self.lane, let node = self.node, self.isLocallyOpen else { return true }
        // One that was given up ends with the link.
        let unsettled = self.link.unsettledCount - (self.isAborting ? 1 : 0)
        guard lane.isEmpty, unsettled == 0, self.handler.outbox.ledger(node) == nil else { return false }
        self.close(nil)
        return true
    }

    /// What has not been sent or not been settled now.
    func unfinished(_ lane: SendQueue<SenderEndpoint>.Lane) -> AMQPUnfinished {
        var unfinished = AMQPUnfinished(linkName: self.status.name, address: self.address)
        for current in self.link.unsettled {
            // The message that has begun is the first of the lane still.
            guard !lane.isMidMessage || current != self.link.current else { continue }
            if let context = current.context {
                unfinished.inDoubt.append(AMQPTracker(OutcomePromise(pointer: context).reply))
            }
        }
        // One that was not made to its end cannot be sent again.
        unfinished.notSent = lane.waiting.filter { $0.stream == 0 }.map { message in
            AMQPUnfinished.Unsent(
                payload: message.bytes.buffer,
                options: self.options(of: message),
                tracker: AMQPTracker(message.outcome.reply)
            )
        }
        return unfinished
    }
}

extension ConnectionHandler {
    /// Flushes senders at the same time.
    func flush(_ senders: [SenderEndpoint], for limit: Duration, _ done: @escaping () -> Void) {
        var left = senders.count
        guard left > 0 else { return done() }
        for sender in senders {
            sender.flush(for: limit) {
                left -= 1
                if left == 0 { done() }
            }
        }
    }

    /// Stops receivers at the same time, and flushes the senders in the rest of the limit: handlers may send until their
    /// messages are settled.
    func finish(_ links: @escaping () -> [LinkEndpoint], for limit: Duration, _ done: @escaping () -> Void) {
        let deadline = self.deadline(in: limit)
        let flush = { [unowned self] in
            let rest = Duration.nanoseconds(max(0, (deadline - self.eventLoop.now).nanoseconds))
            self.flush(links().compactMap { $0 as? SenderEndpoint }, for: rest, done)
        }
        let receivers = links().compactMap { $0 as? ReceiverEndpoint }
        var left = receivers.count
        guard left > 0 else { return flush() }
        for receiver in receivers {
            receiver.stop(for: limit) {
                left -= 1
                if left == 0 { flush() }
            }
        }
    }

    /// Closes the links that have nothing left to do.
    func closeFlushed() {
        guard !self.flushing.isEmpty else { return }
        // Taken out while they are asked, which may bring others.
        let senders = self.flushing
        self.flushing = []
        self.flushing.insert(contentsOf: senders.filter { !$0.closeIfFlushed() }, at: 0)
    }
}

extension SessionEndpoint {
    var senders: [SenderEndpoint] { self.links.values.compactMap { $0 as? SenderEndpoint } }
}
