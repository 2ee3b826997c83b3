internal import NIOCore

// Messages that are handed over while they arrive.

extension ReceiverEndpoint {
    /// The most bytes before the body: what has more is handed over whole.
    private static let longestBeginning = 1 << 20
    /// The most bytes of a piece.
    private static let piece = 65_536

    /// Whether the message that has begun may be handed over before its end.
    var mayStream: Bool { self.streamBuffer != nil && self.partial.readableBytes <= Self.longestBeginning }

    /// Hands over the message that has begun, if it is to be streamed and all that is before its body has come.
    func beginStream(_ delivery: ProtonDelivery) -> Bool {
        guard self.mayStream,
            let start = try? SectionFront.bodyStart(self.partial), let beginning = self.partial.readSlice(length: start)
        else { return false }
        let rest = self.partial
        // The beginning counts until the message gives its place back; the rest piece by piece.
        let weight = max(CreditWindow.leastSize, start)
        self.state.stream(self.sequence + 1, bytes: weight)
        self.account(weight - start - rest.readableBytes)
        self.partial = ByteBuffer()
        self.sequence += 1
        let sequence = self.sequence
        let slot = delivery.isRemotelySettled ? nil : self.keep(delivery, sequence, weight)
        let isReported = slot == nil || !self.isHeldUntilSettled
        if isReported, self.countsUntaken { self.untaken.append(weight) }
        let stream = self.makeStream(sequence)
        let arriving = ArrivingStream(stream, sequence: sequence, slot: slot, count: start, weight: weight)
        self.streams[sequence] = arriving
        self.push(rest, to: arriving)
        let (tagCount, _) = self.placeTag(of: delivery)
        self.arrivals.append(
            large: .streamed(beginning, stream),
            tagCount: tagCount,
            slot: slot?.bitPattern ?? 0,
            sequence: sequence,
            isReported: isReported
        )
        return true
    }

    private func keep(_ delivery: ProtonDelivery, _ sequence: UInt64, _ weight: Int) -> SlotKey {
        let slot = self.unsettled.append(Unsettled(delivery: delivery, sequence: sequence, weight: weight))
        delivery.setKey(slot.bitPattern)
        return slot
    }

    private func makeStream(_ sequence: UInt64) -> IncomingStream {
        IncomingStream(of: self.status, sequence: sequence, outbox: self.handler.outbox)
    }

    private func push(_ piece: ByteBuffer, to stream: ArrivingStream) {
        let held = stream.heldBytes
        stream.push(piece)
        self.state.hold(stream.heldBytes - held)
        self.account(stream.heldBytes - held)
        self.count(stream.heldBytes - held)
    }

    /// Looks how much waits, where that is more than the inbox knows.
    func countBuffered() {
        self.status.countStreamed(self.streamedBytes, beside: self.inbox?.weight ?? 0)
    }

    private func count(_ bytes: Int) {
        self.streamedBytes += bytes
        self.countBuffered()
    }

    /// Takes what has come of a streamed message. Returns whether the message has ended.
    func receive(_ stream: ArrivingStream, _ delivery: ProtonDelivery) -> Bool {
        let pending = delivery.pendingBytes
        guard pending <= self.maxMessageSize - stream.count else {
            self.refuseOversize()
            return false
        }
        var left = pending
        while left > 0 {
            let count = min(left, stream.isDiscarding ? .max : self.streamRoom, Self.piece)
            guard count > 0 else { break }
            var piece = ByteBuffer()
            piece.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
                self.link.receive(into: bytes.baseAddress, count)
            }
            guard piece.readableBytes > 0 else { break }
            left -= piece.readableBytes
            self.push(piece, to: stream)
        }
        self.note(left > 0 ? .heldBack : .upToDate)
        guard left == 0, !delivery.isPartial else { return false }
        self.completeStream(stream, delivery)
        return true
    }

    /// The bytes that may be read. A budget that is no hard limit leaves the buffer of streams alone.
    private var streamRoom: Int {
        let room = max(0, (self.streamBuffer ?? 0) - self.streamedBytes)
        return self.state.window.isAutomatic ? room : min(room, self.state.window.room(after: 0))
    }

    private func completeStream(_ stream: ArrivingStream, _ delivery: ProtonDelivery) {
        let isSettled = delivery.isRemotelySettled
        self.state.completeStream(min(stream.count, self.streamBuffer ?? 0))
        self.pace?.complete(stream.count)
        self.meter?.receive(stream.count)
        self.link.advance()
        stream.finish(nil)
        if let slot = stream.slot {
            let isOpen = self.unsettled.isInOrder(slot)
            if isSettled || (stream.isDecided && self.settlesAtOnce) { self.forget(slot) }
            if self.isHeldUntilSettled, !isOpen || isSettled { self.free(1, bytes: stream.weight) }
        } else {
            delivery.settle()
        }
        self.forgetIfRead(stream.sequence)
        // Who waits for the next message was not idle while this one came.
        self.topUp()
    }

    /// The sender has aborted the message, and the delivery is about to be settled.
    func abort(_ stream: ArrivingStream) {
        stream.finish(
            AMQPError(
                scope: .delivery,
                condition: .aborted,
                detail: "the sender has aborted the message",
                origin: .peer
            )
        )
        if let slot = stream.slot {
            self.unsettled.remove(slot)
            if self.isHeldUntilSettled { self.giveBack(1, bytes: stream.weight) }
        }
        self.forgetIfRead(stream.sequence)
    }

    /// The application has decided about a message. Returns whether it is one that is settled later, when all of it has come.
    func settleStreamed(_ slot: SlotKey, _ outcome: AMQPOutcome) -> Bool {
        guard self.unsettled.isInOrder(slot), let entry = self.unsettled[slot],
            let stream = self.streams[entry.sequence]
        else { return false }
        self.drop(entry.sequence)
        guard stream.isArriving else { return false }
        // Told now, so that the sender need not send the rest.
        _ = self.unsettled.withdraw(slot)
        self.set(outcome, of: entry.delivery)
        stream.isDecided = true
        return true
    }

    /// A task has taken pieces.
    func read(_ count: Int, of sequence: UInt64) {
        guard !self.isDone, let stream = self.streams[sequence] else { return }
        let bytes = stream.taken(count)
        self.count(-bytes)
        self.forgetIfRead(sequence)
        self.free(0, bytes: bytes)
    }

    /// Nobody reads the message any more: what waits, and what still comes, is dropped.
    func drop(_ sequence: UInt64) {
        guard !self.isDone, let stream = self.streams[sequence] else { return }
        let bytes = stream.discard()
        self.count(-bytes)
        self.forgetIfRead(sequence)
        self.free(0, bytes: bytes)
    }

    private func forgetIfRead(_ sequence: UInt64) {
        guard let stream = self.streams[sequence], !stream.isArriving, stream.heldBytes == 0 else {
            return
        }
        self.streams[sequence] = nil
    }

    /// The link has ended.
    func endStreams(_ cause: AMQPError) {
        for stream in self.streams.values where stream.isArriving { stream.finish(cause) }
        self.state.endStream()
        self.streams = [:]
    }
}
