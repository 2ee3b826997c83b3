internal import DequeModule
internal import Logging
internal import NIOCore

// From Proton to the socket, and what follows when the socket has taken bytes.

extension ConnectionHandler {
    /// Writes what Proton has to send. Returns whether it had anything.
    @discardableResult
    func produce() -> Bool {
        guard let context = self.context else { return false }
        var out: ByteBuffer?
        self.engine.write { bytes in
            // The peer will get bytes without it, and one that does not read must not be sent more and more of them.
            if self.unwrittenBytes > 0, Self.isHeartbeat(bytes) { return }
            if out == nil { out = self.takeOutput(context) }
            out?.writeBytes(bytes)
        }
        if out != nil { self.frames.sent(&out) }
        if self.frames.hasNews, self.engine.isLocallyActive { self.addNews(to: &out, context) }
        if !self.touchedSessions.isEmpty { self.takeFramed() }
        guard let out, out.readableBytes > 0 else {
            if self.pendingWrites.hasNewMessages, !self.pendingWrites.addToLast() {
                self.confirm(self.pendingWrites.confirmNew(), nil)
            }
            return false
        }
        if out.capacity <= Self.largestOutput { self.output = out }
        // Behind much that waits a small write takes no more memory than it needs: a peer that does not read can have many made.
        let isLean = self.unwrittenBytes > Self.batch && out.readableBytes < out.capacity / 8
        self.write(isLean ? context.channel.allocator.buffer(buffer: out) : out, context)
        return true
    }

    /// Adds frames that this side makes itself: answers to echoes and renewals of windows.
    private func addNews(to out: inout ByteBuffer?, _ context: ChannelHandlerContext) {
        func add(_ frame: ByteBuffer) {
            if out == nil { out = self.takeOutput(context) }
            out?.writeImmutableBuffer(frame)
        }
        // A peer that asks and does not read must not be answered without end.
        if self.unwrittenBytes < Self.writeBudget { self.frames.echoAnswers(add) }
        if self.frames.renewals(at: self.now, add) { self.isPumpNeeded = true }
        self.scheduleIdleLook()
    }

    private func takeFramed() {
        // One as a rule.
        if self.touchedSessions.count == 1 {
            self.touchedSessions.removeLast().takeFramed(into: &self.pendingWrites)
        } else {
            for session in self.touchedSessions { session.takeFramed(into: &self.pendingWrites) }
            self.touchedSessions.removeAll(keepingCapacity: true)
        }
    }

    /// An empty frame alone.
    private static func isHeartbeat(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count == 8 && bytes.loadUnaligned(as: UInt64.self).bigEndian == 0x0000_0008_0200_0000
    }

    /// Writes a close with the reason, behind all that Proton has to send. Proton makes none of its own where this side finds
    /// the error; its text would name another reason too.
    ///
    /// A peer that did not begin with the AMQP header gets that header alone. Source: AMQP 1.0 §2.2, §2.4.1.
    func sayFarewell(_ error: AMQPError) {
        guard let context = self.context, self.engine.transportError == nil else { return }
        guard self.header.isPassed else {
            // A client has sent its own at the start.
            if self.role == .server { self.write(ByteBuffer(bytes: HeaderCheck.expected), context) }
            return
        }
        if self.engine.isLocallyUnopened { self.engine.open() }
        while self.produce() {}
        guard !self.isDead, !self.engine.isLocallyClosed else { return }
        var frame = context.channel.allocator.buffer(capacity: 256)
        do {
            try CloseFrame.write(error.fitted(to: self.peerFrameSize), into: &frame)
        } catch {
            return self.logger.debug("no close was sent", metadata: .amqp(error: error))
        }
        self.write(frame, context)
    }

    // MARK: The socket

    /// The water marks of a channel: with marks of 1 it is writable only while it holds nothing. TLS keeps bytes back before it.
    static func waterMark(isTLS: Bool) -> ChannelOptions.Types.WriteBufferWaterMark {
        isTLS ? .init(low: 32_768, high: 65_536) : .init(low: 1, high: 1)
    }

    /// Writes bytes. A promise confirms them if the channel does not show by itself that it has written all, or has not so far.
    private func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        let count = bytes.readableBytes
        self.trace?.sent(bytes)
        self.unwrittenBytes += count
        self.isFlushNeeded = true
        self.writes.issue()
        let isPromised = !self.confirmsByWritability || self.pendingWrites.promised > 0
        self.pendingWrites.add(bytes: count, isPromised: isPromised)
        context.write(self.wrapOutboundOut(bytes), promise: isPromised ? self.makeConfirmation() : nil)
    }

    private func makeConfirmation() -> EventLoopPromise<Void> {
        let promise = self.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { self.confirm(self.pendingWrites.confirm(), $0) }
        return promise
    }

    /// The memory of the last write, if that has gone and the memory is of the usual size.
    private func takeOutput(_ context: ChannelHandlerContext) -> ByteBuffer {
        guard var out = self.output else { return context.channel.allocator.buffer(capacity: 4_096) }
        self.output = nil
        // New memory where the last write still holds it.
        out.clear()
        return out
    }

    func flush() {
        guard self.isFlushNeeded, let context = self.context else { return }
        self.isFlushNeeded = false
        context.flush()
        guard self.pendingWrites.hasUnpromised, !self.isDead else { return }
        let channel = context.channel
        if channel.isWritable, channel.isActive {
            self.confirm(self.pendingWrites.confirm(), nil)
        } else {
            // The socket is full: a mark behind what it has not taken tells when it has.
            self.pendingWrites.add(bytes: 0, isPromised: true)
            context.writeAndFlush(self.wrapOutboundOut(ByteBuffer()), promise: self.makeConfirmation())
        }
    }

    /// The connection is over, and no promise confirms what was written last.
    func loseUnpromisedWrites(_ error: AMQPError) {
        guard self.pendingWrites.hasUnpromised else { return }
        self.confirm(self.pendingWrites.confirm(), .failure(error))
    }

    /// The socket has taken writes, or lost them: their bytes leave the ledgers, and what was sent settled is done.
    private func confirm(_ confirmed: PendingWrites.Confirmed, _ result: Result<Void, any Error>?) {
        let wasFull = self.unwrittenBytes >= Self.writeBudget
        self.unwrittenBytes -= confirmed.bytes
        var failure: AMQPError?
        if case .failure(let error)? = result { failure = self.endError ?? self.translate(error) }
        self.writes.end(confirmed.writes, isDone: failure == nil)
        if !self.writeWaits.isEmpty { self.writeWaits.finish(self.writes.done) }
        if self.isDead {
            if self.writes.isIdle { self.writeWaits.fail(failure ?? self.gone) }
            self.reportUnsent()
        }
        self.release(confirmed, failure)
        // Nothing more may be handed over: it would count as sent.
        if let failure { return self.die(failure) }
        guard self.isPumping else { return self.pump() }
        // The round that writes hands over more itself. Answers wait for less than a full budget, and ends for the ledgers.
        if wasFull || !self.flushing.isEmpty { self.isPumpNeeded = true } else { self.isLookNeeded = true }
    }

    private func release(_ confirmed: PendingWrites.Confirmed, _ failure: AMQPError?) {
        var confirmed = confirmed
        let outcome = failure.map { OutcomeBlock.Answer.failure($0.telling(.inDoubt)) } ?? .success(.settled)
        while let message = self.pendingWrites.next(of: &confirmed) {
            self.metrics?.written(message, isDone: failure == nil)
            // With the next look into the outbox, which follows.
            self.releases.append((message.bytes, message.node))
            message.settled?.resolve(outcome)
        }
        self.metrics?.flushIfStopped()
    }
}
