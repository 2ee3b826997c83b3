// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

/// The bytes between Proton and the socket: the writer forms writes, and counts the bytes that the socket has not
/// accepted.
///
/// Used on the event loop only. The handler processes ended writes.
final class SocketWriter {
    /// The most bytes on their way from Proton to the socket. No frame can overtake bytes that wait here.
    static let budget = 131_072
    /// The most memory that the next write uses again, in bytes.
    private static let largestOutput = 131_072

    // Exclusivity checks are off: changes are short steps that are never re-entered.
    @exclusivity(unchecked) private(set) var unwrittenBytes = 0
    private(set) var unwrittenPeak = 0
    @exclusivity(unchecked) private(set) var numbers = WriteNumbers()
    @exclusivity(unchecked) var pending = PendingWrites()
    /// The buffer of the last write, whose memory the next write uses again.
    @exclusivity(unchecked) private var output: ByteBuffer?
    @exclusivity(unchecked) private var isFlushNeeded = false
    /// Whether the channel is writable only while it holds no bytes: its water marks are 1, and no other handler
    /// buffers bytes.
    private let confirmsByWritability: Bool
    /// The log of frames; `nil` if frames are not logged.
    var trace: FrameTrace?

    init(confirmsByWritability: Bool) { self.confirmsByWritability = confirmsByWritability }

    /// Returns the water marks of a channel. With marks of 1 the channel is writable only while it holds no bytes. TLS
    /// buffers bytes before the channel.
    static func waterMark(isTLS: Bool) -> ChannelOptions.Types.WriteBufferWaterMark {
        isTLS ? .init(low: 32_768, high: 65_536) : .init(low: 1, high: 1)
    }

    // MARK: Making a write

    /// Collects Proton's output; `nil` if there is none.
    @inline(__always)
    func take(from engine: borrowing ProtonEngine, _ context: ChannelHandlerContext) -> ByteBuffer? {
        var out: ByteBuffer?
        engine.write { bytes in
            // Unwritten bytes replace a heartbeat. A peer that does not read must not accumulate heartbeats.
            if self.unwrittenBytes > 0, Self.isHeartbeat(bytes) { return }
            if out == nil { out = self.takeOutput(context) }
            out?.writeBytes(bytes)
        }
        return out
    }

    /// Returns whether the bytes are a single empty frame.
    private static func isHeartbeat(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count == 8 && bytes.loadUnaligned(as: UInt64.self).bigEndian == 0x0000_0008_0200_0000
    }

    /// Returns an empty buffer, in the memory of the last write if possible.
    func takeOutput(_ context: ChannelHandlerContext) -> ByteBuffer {
        guard var out = self.output else { return context.channel.allocator.buffer(capacity: 4_096) }
        self.output = nil
        // `clear` allocates new memory if the last write still uses the old memory.
        out.clear()
        return out
    }

    /// Writes the collected bytes, and stores their memory for the next write.
    @inline(__always)
    func writeTaken(_ out: ByteBuffer, _ context: ChannelHandlerContext, for handler: ConnectionHandler) {
        if out.capacity <= Self.largestOutput { self.output = out }
        // During a large backlog a small write uses no more memory than it needs. A peer that does not read can cause
        // many such writes.
        let isLean = self.unwrittenBytes > SendFeed.batch && out.readableBytes < out.capacity / 8
        self.write(isLean ? context.channel.allocator.buffer(buffer: out) : out, context, for: handler)
    }

    /// Writes bytes. A promise confirms them if the channel's writability does not.
    ///
    /// - Parameter handler: The handler that the end of a write with a promise notifies.
    func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext, for handler: ConnectionHandler) {
        let count = bytes.readableBytes
        self.trace?.sent(bytes)
        self.unwrittenBytes += count
        if self.unwrittenBytes > self.unwrittenPeak { self.unwrittenPeak = self.unwrittenBytes }
        self.isFlushNeeded = true
        self.numbers.issue()
        let isPromised = !self.confirmsByWritability || self.pending.promised > 0
        self.pending.add(bytes: count, isPromised: isPromised)
        context.write(NIOAny(bytes), promise: isPromised ? self.makeConfirmation(handler) : nil)
    }

    private func makeConfirmation(_ handler: ConnectionHandler) -> EventLoopPromise<Void> {
        let promise = handler.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { handler.confirm(handler.writer.pending.confirm(), $0) }
        return promise
    }

    /// Writes a close with the error after all output of Proton. Proton writes no close for an error that this side
    /// finds, and its own text would differ.
    ///
    /// A peer that did not start with the AMQP header receives only that header. Source: AMQP 1.0 §2.2, §2.4.1.
    func sayFarewell(_ error: AMQPError, for handler: ConnectionHandler) {
        guard let context = handler.context, handler.engine.transportError == nil else { return }
        guard handler.reader.hasSeenHeader else {
            // A client has sent its own header at the start.
            if handler.role == .server { self.write(ByteBuffer(bytes: HeaderCheck.expected), context, for: handler) }
            return
        }
        if handler.engine.isLocallyUnopened { handler.engine.open() }
        while handler.produce() {}
        guard !handler.isDead, !handler.engine.isLocallyClosed else { return }
        var frame = context.channel.allocator.buffer(capacity: 256)
        do {
            try CloseFrame.write(error.fitted(to: handler.peerFrameSize), into: &frame)
        } catch {
            return handler.logger.debug("no close was sent", metadata: .amqp(error: error))
        }
        self.write(frame, context, for: handler)
    }

    // MARK: The socket

    /// Flushes the channel. Returns the writes that the socket has accepted at once; `nil` if a promise confirms them
    /// later.
    @inline(__always)
    func flush(_ context: ChannelHandlerContext, for handler: ConnectionHandler) -> PendingWrites.Confirmed? {
        guard self.isFlushNeeded else { return nil }
        self.isFlushNeeded = false
        context.flush()
        guard self.pending.hasUnpromised, !handler.isDead else { return nil }
        let channel = context.channel
        if channel.isWritable, channel.isActive { return self.pending.confirm() }
        // The socket is full, so an empty write with a promise follows the unaccepted bytes and confirms them.
        self.pending.add(bytes: 0, isPromised: true)
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: self.makeConfirmation(handler))
        return nil
    }

    /// Returns message bytes for which Proton wrote no output, if no write in progress can carry them.
    @inline(__always)
    func confirmFramed() -> PendingWrites.Confirmed? {
        self.pending.hasNewMessages && !self.pending.addToLast() ? self.pending.confirmNew() : nil
    }

    /// Returns the last writes, which no promise confirms, at the end of the connection.
    func takeUnpromised() -> PendingWrites.Confirmed? {
        self.pending.hasUnpromised ? self.pending.confirm() : nil
    }

    /// Ends accepted or lost writes: removes their bytes from the ledgers, and completes messages that were sent
    /// settled.
    @inline(__always)
    func end(_ confirmed: PendingWrites.Confirmed, _ failure: AMQPError?, for handler: ConnectionHandler) {
        self.unwrittenBytes -= confirmed.bytes
        self.numbers.end(confirmed.writes, isDone: failure == nil)
        handler.decisionWrites.finish(self.numbers.done)
        if handler.isDead {
            handler.decisionWrites.fail(failure ?? handler.gone, self.numbers)
            handler.decisionWrites.report(self.numbers, isDead: true)
        }
        self.release(confirmed, failure, for: handler)
    }

    private func release(_ confirmed: PendingWrites.Confirmed, _ failure: AMQPError?, for handler: ConnectionHandler) {
        var confirmed = confirmed
        let outcome = failure.map { OutcomeBlock.Answer.failure($0.telling(.inDoubt)) } ?? .success(.settled)
        while let message = self.pending.next(of: &confirmed) {
            handler.metrics?.written(message, isDone: failure == nil)
            // The fetch of the outbox that follows removes the bytes from the ledgers.
            handler.mail.release(message.bytes, message.node)
            message.settled?.resolve(outcome)
        }
        handler.metrics?.flushIfStopped()
    }
}
