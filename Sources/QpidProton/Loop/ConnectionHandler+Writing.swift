// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// The path of Proton's output to the socket, and the consequences of confirmed writes.

extension ConnectionHandler {
    /// Writes Proton's output. Returns whether there was output.
    @discardableResult
    func produce() -> Bool {
        guard let context = self.context else { return false }
        var out = self.writer.take(from: self.engine, context)
        if out != nil { self.frames.sent(&out) }
        if self.frames.renewals.areDue, self.engine.isLocallyActive { self.addNews(to: &out, context) }
        if !self.touchedSessions.isEmpty { SessionEndpoint.takeFramed(of: self) }
        guard let out, out.readableBytes > 0 else {
            if let framed = self.writer.confirmFramed() { self.confirm(framed, nil) }
            return false
        }
        self.writer.writeTaken(out, context, for: self)
        return true
    }

    /// Adds frames that the library writes itself: answers to echoes and renewals of windows.
    private func addNews(to out: inout ByteBuffer?, _ context: ChannelHandlerContext) {
        func add(_ frame: ByteBuffer) {
            if out == nil { out = self.writer.takeOutput(context) }
            out?.writeImmutableBuffer(frame)
        }
        // A peer that requests echoes and does not read receives no further answers.
        if self.unwrittenBytes < SocketWriter.budget { self.frames.renewals.answerEchoes(add) }
        if self.frames.renewals.renew(at: self.now, add) { self.isPumpNeeded = true }
        self.timers.lookAtIdleLinks(of: self)
    }

    func flush() {
        guard let context = self.context, let confirmed = self.writer.flush(context, for: self) else { return }
        self.confirm(confirmed, nil)
    }

    /// Handles writes that the socket has confirmed or lost: removes their bytes from the ledgers, and completes
    /// messages that were sent settled.
    func confirm(_ confirmed: PendingWrites.Confirmed, _ result: Result<Void, any Error>?) {
        let wasFull = self.unwrittenBytes >= SocketWriter.budget
        var failure: AMQPError?
        if case .failure(let error)? = result {
            failure = self.ended.answer?.failure ?? self.errors.translate(error, self.context)
        }
        self.writer.end(confirmed, failure, for: self)
        // Messages that reach Proton from here on would count as sent.
        if let failure { return self.die(failure) }
        guard self.isPumping else { return self.pump() }
        // The writing round passes further messages to Proton. Answers to echoes wait for room in the budget, and
        // ending senders wait for the ledgers.
        if wasFull || !self.sending.flushing.isEmpty { self.isPumpNeeded = true } else { self.isLookNeeded = true }
    }
}
