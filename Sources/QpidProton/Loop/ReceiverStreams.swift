// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The streamed messages of a receiver.
///
/// The streams share one buffer. Bytes without room in it stay in Proton, and close the session's window.
final class ReceiverStreams {
    /// The most bytes before the body. A message with a longer beginning arrives at the task as a whole.
    private static let longestBeginning = 1 << 20
    /// The most bytes of a piece.
    private static let piece = 65_536

    private unowned let receiver: ReceiverEndpoint
    /// The limit of unread bytes.
    private let buffer: Int
    /// The messages that are not read to their end, by their sequence.
    private(set) var streams: [UInt64: ArrivingStream] = [:]
    /// The number of unread bytes.
    private(set) var heldBytes = 0

    init(of receiver: ReceiverEndpoint, _ buffer: AMQPByteCount) {
        self.receiver = receiver
        self.buffer = max(CreditWindow.leastSize, buffer.bytes)
    }

    /// The incomplete message.
    var arriving: ArrivingStream? {
        guard case .streaming(let sequence, _) = self.receiver.state.message else { return nil }
        return self.streams[sequence]
    }

    // MARK: Arriving

    /// Whether the started message may be delivered before its end.
    var mayBegin: Bool { self.receiver.partial.readableBytes <= Self.longestBeginning }

    /// Delivers the started message if all sections before its body have arrived. Returns whether it did.
    func begin(_ delivery: ProtonDelivery) -> Bool {
        let receiver = self.receiver
        guard self.mayBegin, let start = try? SectionFront.bodyStart(receiver.partial),
            let beginning = receiver.partial.readSlice(length: start)
        else { return false }
        let rest = receiver.partial
        receiver.partial = ByteBuffer()
        receiver.sequence += 1
        let sequence = receiver.sequence
        // The start counts until the message returns its place. The body counts piece by piece.
        let weight = max(CreditWindow.leastSize, start)
        receiver.state.stream(sequence, bytes: weight)
        receiver.account.add(weight - start - rest.readableBytes, of: receiver)
        let slot =
            delivery.isRemotelySettled ? nil : receiver.dispositions.append(delivery, sequence, weight: weight)
        let isReported = slot == nil || !receiver.isHeldUntilSettled
        if isReported { receiver.account.keep(weight, isCounted: receiver.state.window.budget != nil) }
        let stream = IncomingStream(of: receiver.status, sequence: sequence, outbox: receiver.handler.outbox)
        let arriving = ArrivingStream(stream, sequence: sequence, slot: slot, count: start, weight: weight)
        self.streams[sequence] = arriving
        self.push(rest, to: arriving)
        let (tagCount, _) = receiver.place(delivery.tag, before: 0)
        receiver.arrivals.append(
            large: .streamed(beginning, stream),
            tagCount: tagCount,
            slot: slot?.bitPattern ?? 0,
            sequence: sequence,
            isReported: isReported
        )
        return true
    }

    /// Handles the received bytes of the message. Returns whether it has ended.
    func receive(_ stream: ArrivingStream, _ delivery: ProtonDelivery) -> Bool {
        let receiver = self.receiver
        let pending = delivery.pendingBytes
        guard pending <= receiver.limits.maxMessageSize - stream.count else {
            receiver.refuseOversize()
            return false
        }
        var left = pending
        while left > 0 {
            let count = min(left, stream.isDiscarding ? .max : self.room, Self.piece)
            guard count > 0 else { break }
            var piece = ByteBuffer()
            piece.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
                receiver.link.receive(into: bytes.baseAddress, count)
            }
            guard piece.readableBytes > 0 else { break }
            left -= piece.readableBytes
            self.push(piece, to: stream)
        }
        receiver.note(left > 0 ? .heldBack : .upToDate)
        guard left == 0, !delivery.isPartial else { return false }
        self.complete(stream, delivery)
        return true
    }

    private func push(_ piece: ByteBuffer, to stream: ArrivingStream) {
        let held = stream.heldBytes
        stream.push(piece)
        let more = stream.heldBytes - held
        self.receiver.state.hold(more)
        self.receiver.account.add(more, of: self.receiver)
        self.count(more)
    }

    /// The number of bytes that may be read. A soft budget does not limit the stream buffer.
    private var room: Int {
        let room = max(0, self.buffer - self.heldBytes)
        let window = self.receiver.state.window
        return window.isAutomatic ? room : min(room, window.room(after: 0))
    }

    private func complete(_ stream: ArrivingStream, _ delivery: ProtonDelivery) {
        let receiver = self.receiver
        let isSettled = delivery.isRemotelySettled
        receiver.state.completeStream(min(stream.count, self.buffer))
        receiver.account.count(stream.count)
        receiver.meter?.receive(stream.count)
        receiver.link.advance()
        stream.finish(nil)
        if let slot = stream.slot {
            let isOpen = receiver.dispositions.queue.isInOrder(slot)
            if isSettled || (stream.isDecided && receiver.dispositions.settlesFirst) {
                receiver.dispositions.forget(slot)
            }
            if receiver.isHeldUntilSettled, !isOpen || isSettled { receiver.free(1, bytes: stream.weight) }
        } else {
            delivery.settle()
        }
        self.forgetIfRead(stream)
        // A task that waits for the next message was not idle during the streamed message.
        receiver.topUp()
    }

    /// Fails a stream whose message the sender has aborted. The caller settles the delivery.
    func abort(_ stream: ArrivingStream) {
        stream.finish(.aborted("the sender has aborted the message"))
        if let slot = stream.slot {
            self.receiver.dispositions.remove(slot)
            if self.receiver.isHeldUntilSettled { self.receiver.returnPlaces(1, bytes: stream.weight) }
        }
        self.forgetIfRead(stream)
    }

    // MARK: Settling and reading

    /// Applies the application's outcome of a message. Returns whether the receiver settles its delivery later, when it
    /// is complete.
    func settle(_ slot: SlotKey, _ outcome: AMQPOutcome) -> Bool {
        guard !self.streams.isEmpty, self.receiver.dispositions.queue.isInOrder(slot),
            let entry = self.receiver.dispositions.queue[slot], let stream = self.streams[entry.sequence]
        else { return false }
        self.discard(entry.sequence)
        guard stream.isArriving else { return false }
        self.receiver.dispositions.sendEarly(slot, outcome, on: self.receiver)
        stream.isDecided = true
        return true
    }

    /// Frees the room of pieces that a task has read.
    func read(_ count: Int, of sequence: UInt64) {
        guard !self.receiver.isDone, let stream = self.streams[sequence] else { return }
        self.free(stream.taken(count), of: stream)
    }

    /// Drops the unread and later bytes of a message that no task reads any more.
    func discard(_ sequence: UInt64) {
        guard !self.receiver.isDone, let stream = self.streams[sequence] else { return }
        self.free(stream.discard(), of: stream)
    }

    private func free(_ bytes: Int, of stream: ArrivingStream) {
        self.count(-bytes)
        self.forgetIfRead(stream)
        self.receiver.free(0, bytes: bytes)
    }

    private func forgetIfRead(_ stream: ArrivingStream) {
        if !stream.isArriving, stream.heldBytes == 0 { self.streams[stream.sequence] = nil }
    }

    private func count(_ bytes: Int) {
        self.heldBytes += bytes
        self.show()
    }

    private func show() {
        self.receiver.status.countStreamed(self.heldBytes, beside: self.receiver.inbox?.weight ?? 0)
    }

    /// Publishes the unread bytes in addition to the messages of the inbox, which have changed.
    func showBuffered() { if self.heldBytes > 0 { self.show() } }

    /// Fails the incomplete streams of an ended link.
    func end(_ cause: AMQPError) {
        for stream in self.streams.values where stream.isArriving { stream.finish(cause) }
        self.receiver.state.endStream()
        self.streams = [:]
    }
}
