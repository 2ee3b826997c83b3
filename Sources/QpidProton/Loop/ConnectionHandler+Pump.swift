internal import Logging
internal import NIOCore

extension ConnectionHandler {
    /// How often the pump goes round before other connections of the loop have their turn.
    private static let rounds = 16

    /// Moves everything that can move: the outbox, Proton's events, slices, and Proton's bytes.
    ///
    /// - Parameter isFresh: All events have been acted upon just now.
    func pump(isFresh: Bool = false) {
        guard !self.isDead else { return }
        guard !self.isPumping else {
            self.isPumpNeeded = true
            return
        }
        self.isPumping = true
        // Before the output: a heartbeat or an idle timeout that is due now has to go out now.
        self.runTimers()
        if self.isEndWaiting {
            self.isEndWaiting = false
            self.produce()
        }
        var rounds = 0
        var hasMail = false
        repeat {
            // Nothing waited for the bytes that have gone.
            let isLookOnly = rounds > 0 && !self.isPumpNeeded
            self.isPumpNeeded = false
            self.isLookNeeded = false
            hasMail = self.mail.read(for: self)
            if isLookOnly, !hasMail { break }
            if hasMail || rounds > 0 || !isFresh {
                self.processEvents()
                self.receiving.update()
            }
            self.sending.closeFlushed()
            repeat {
                self.feed()
                // What is written early is at work at the peer while the rest is still being made.
                self.flush()
                // Writing may have shown that a session's window is open, and what Proton tells may have been answered.
            } while !self.isDead && (self.processEvents() || self.hasMore)
            self.sending.noteFilled()
            rounds += 1
        } while (self.isPumpNeeded || self.isLookNeeded) && rounds < Self.rounds && !self.isDead
        self.isPumping = false
        guard !self.isDead else { return }
        self.decisionWrites.report(self.writes, isDead: false)
        self.receiving.update()
        if self.isPumpNeeded || self.isLookNeeded || hasMail {
            // Where there was mail there is more soon: looking again costs less than being woken.
            let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
            self.eventLoop.execute { bound.value.pump() }
        }
        self.closeIfDone()
    }

    /// Hands slices to Proton while the socket has room, and writes all that Proton made of them and had to send besides.
    private func feed() {
        self.sending.abortGivenUp()
        self.sending.handOver(self.hasRoomForBatch ? SendFeed.batch : 0, at: self.now)
        self.produce()
    }

    /// Whether there is more to hand over, and room for it.
    private var hasMore: Bool {
        self.sending.queue.hasReadyLane && self.hasRoomForBatch || self.sending.mayAbort
    }

    /// Whether the socket has room for a batch. For less nothing is handed over: each small write that ends would make room
    /// for another as small, and these cost five times as much.
    private var hasRoomForBatch: Bool { self.unwrittenBytes <= SocketWriter.budget - SendFeed.batch }

    func markArrived(_ receiver: ReceiverEndpoint) {
        self.arrivedReceivers.append(receiver)
    }

    // MARK: Timers and the end

    /// Runs Proton's idle timers, and comes back when they want to run next.
    private func runTimers() {
        self.now = self.nanoseconds
        if let next = self.engine.tick(self.now / 1_000_000) { self.timers.tick(at: next, for: self) }
    }

    /// Closes the socket once both sides have said so and all has been written.
    private func closeIfDone() {
        guard self.unwrittenBytes == 0, self.engine.isWriteClosed else { return }
        if self.engine.isRemotelyClosed || self.engine.isReadClosed || self.engine.transportError != nil {
            self.die(AMQPError(scope: .connection, condition: .closed, detail: "the connection was closed"))
        }
    }
}
