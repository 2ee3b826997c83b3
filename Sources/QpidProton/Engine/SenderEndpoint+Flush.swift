internal import CProton
internal import NIOCore

extension SenderEndpoint {
    /// Accepts nothing more, goes on sending, and closes the link when all is settled or the time is over.
    ///
    /// - Parameter done: Gets what was not finished, also when the link ends otherwise.
    func flush(for limit: Duration, _ done: @escaping (AMQPUnfinished) -> Void) {
        guard self.lane != nil, let node = self.node, self.isLocallyOpen else { return done(self.unfinished()) }
        self.flushes.append(done)
        self.handler.mailbox.closeLevel(node, .senderClosed)
        guard limit > .zero else { return self.close(nil) }
        let timer = self.handler.schedule(in: limit) { self.close(nil) }
        self.flushes.append { _ in timer.cancel() }
        self.handler.flushing.append(self)
    }

    /// Closes the link if nothing is left to be done. Returns whether it is.
    func closeIfFlushed() -> Bool {
        guard let lane = self.lane, let node = self.node, self.isLocallyOpen else { return true }
        // One that was given up ends with the link.
        let unsettled = Int(pn_link_unsettled(self.link)) - (self.isAborting ? 1 : 0)
        guard lane.isEmpty, unsettled == 0, self.handler.mailbox.ledger(node) == nil else { return false }
        self.close(nil)
        return true
    }

    /// What has not been sent or not been settled now.
    func unfinished() -> AMQPUnfinished {
        guard let lane = self.lane, !self.isDone else {
            return AMQPUnfinished(linkName: self.status.name, target: AMQPTarget(), unsent: [], unsettled: [])
        }
        var unsettled: [AMQPTracker] = []
        var delivery = pn_unsettled_head(self.link)
        while let current = delivery {
            delivery = pn_unsettled_next(current)
            // The message that has begun is the first of the lane still.
            guard !lane.isMidMessage || current != pn_link_current(self.link) else { continue }
            if let context = pn_delivery_get_context(current) {
                unsettled.append(AMQPTracker(OutcomePromise(pointer: context).reply))
            }
        }
        // One that was not made to its end cannot be sent again.
        let unsent = lane.waiting.filter { $0.stream == 0 }.map { message in
            AMQPUnfinished.Unsent(
                payload: message.bytes.buffer,
                options: self.options(of: message),
                tracker: AMQPTracker(message.outcome.reply)
            )
        }
        let target = ProtonTerminus.target(pn_link_target(self.link)) ?? AMQPTarget()
        return AMQPUnfinished(linkName: self.status.name, target: target, unsent: unsent, unsettled: unsettled)
    }
}

extension ConnectionHandler {
    /// Flushes senders at the same time, and tells what those did not finish that did not.
    func flush(_ senders: [SenderEndpoint], for limit: Duration, _ done: @escaping ([AMQPUnfinished]) -> Void) {
        var left = senders.count
        var unfinished: [AMQPUnfinished] = []
        guard left > 0 else { return done([]) }
        for sender in senders {
            sender.flush(for: limit) { rest in
                left -= 1
                if !rest.isEmpty { unfinished.append(rest) }
                if left == 0 { done(unfinished) }
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
