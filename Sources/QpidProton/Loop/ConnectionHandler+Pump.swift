// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

extension ConnectionHandler {
    /// The most rounds of the pump before other connections of the loop run.
    private static let rounds = 16

    /// Moves all work: reads the outbox, handles Proton's events, passes slices to Proton, and writes Proton's output.
    ///
    /// - Parameter isFresh: Whether the caller has just handled all events.
    func pump(isFresh: Bool = false) {
        guard !self.isDead else { return }
        guard !self.isPumping else {
            self.isPumpNeeded = true
            return
        }
        self.isPumping = true
        // The timers run before the output, so that this pump sends a due heartbeat or idle timeout.
        self.runTimers()
        if self.isEndWaiting {
            self.isEndWaiting = false
            self.produce()
        }
        var rounds = 0
        var hasMail = false
        repeat {
            // A round that no work requested only checks the mail.
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
                // An early write reaches the peer while the loop passes the next slices to Proton.
                self.flush()
                // The write may have made room in a session's window, and the handling of events may have produced
                // output.
            } while !self.isDead && (self.processEvents() || self.hasMore)
            self.sending.noteFilled()
            rounds += 1
        } while (self.isPumpNeeded || self.isLookNeeded) && rounds < Self.rounds && !self.isDead
        self.isPumping = false
        guard !self.isDead else { return }
        self.decisionWrites.report(self.writes, isDead: false)
        self.receiving.update()
        if self.isPumpNeeded || self.isLookNeeded || hasMail {
            // More mail usually follows soon, and a second check costs less than a wake-up.
            let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
            self.eventLoop.execute { bound.value.pump() }
        }
        self.closeIfDone()
    }

    /// Hands slices to Proton while the socket has room, and writes Proton's output.
    private func feed() {
        self.sending.abortGivenUp()
        self.sending.handOver(self.hasRoomForBatch ? SendFeed.batch : 0, at: self.now)
        self.produce()
    }

    /// Whether there are more slices and room for them, or an abort that Proton can send.
    private var hasMore: Bool {
        self.sending.queue.hasReadyLane && self.hasRoomForBatch || self.sending.mayAbort
    }

    /// Whether the socket has room for a batch. Smaller slices wait, because each finished small write would make room
    /// for another small write. Small writes cost five times as much.
    private var hasRoomForBatch: Bool { self.unwrittenBytes <= SocketWriter.budget - SendFeed.batch }

    // MARK: Timers and the end

    /// Runs Proton's idle timers, and schedules their next run.
    private func runTimers() {
        self.now = self.nanoseconds
        if let next = self.engine.tick(self.now / 1_000_000) { self.timers.tick(at: next, for: self) }
    }

    /// Closes the socket once both sides have closed and all output is written.
    private func closeIfDone() {
        guard self.unwrittenBytes == 0, self.engine.isWriteClosed else { return }
        if self.engine.isRemotelyClosed || self.engine.isReadClosed || self.engine.transportError != nil {
            self.die(AMQPError(scope: .connection, condition: .closed, detail: "the connection was closed"))
        }
    }
}
