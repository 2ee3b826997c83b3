// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

// The path of received messages from Proton to the tasks.

extension ReceiverEndpoint {
    /// Reads all bytes that Proton holds for this link, of complete and incomplete messages.
    func receive() {
        guard !self.isDone else { return }
        // Bytes that are read make room in the session's window.
        if self.state.message.isHeldBack { self.session.incomingTaken() }
        self.note(.upToDate)
        while !self.isDone, let delivery = self.link.current {
            if delivery.isAborted {
                self.aborted(delivery)
                continue
            }
            guard self.begin() else { return self.discard() }
            if case .streaming = self.state.message, let stream = self.streams?.arriving {
                guard self.streams?.receive(stream, delivery) == true else { break }
                continue
            }
            let pending = delivery.pendingBytes
            let size = self.partial.readableBytes + pending
            let isTooLarge = size > self.limits.largestWhole
            if isTooLarge, self.streams?.mayBegin != true { return self.refuseOversize() }
            let room = min(size, self.room(for: size)) - self.partial.readableBytes
            // Bytes without room stay in Proton, and finally close the session's window.
            let isHeldBack = room < pending
            self.note(isHeldBack ? .heldBack : .upToDate)
            let isPartial = isHeldBack || delivery.isPartial
            if isTooLarge, !isPartial { return self.refuseOversize() }
            if !isPartial, size == pending, size <= ArrivalChunk.smallLimit {
                self.completeSmall(delivery, size)
                continue
            }
            if room > 0 { self.gather(room) }
            if isPartial {
                if self.streams?.begin(delivery) == true { continue }
                if isTooLarge { return self.refuseOversize() }
                break
            }
            self.completeLarge(delivery)
        }
        self.caughtUp()
        // A task that began to wait meanwhile has not reported its wait, so messages left in Proton are read for it
        // here. A stream waits for room in its buffer instead.
        if !self.isDone, self.state.message == .gathering(.heldBack), self.state.window.isAutomatic,
            self.arrivals.isEmpty, self.inbox?.hasWaiters == true
        {
            self.receive()
        }
    }

    /// Records whether a part of the started message stays in Proton.
    @inline(__always)
    func note(_ reading: ArrivingMessage.Reading) {
        if self.state.read(reading) { self.publish(reading) }
    }

    private func publish(_ reading: ArrivingMessage.Reading) {
        self.status.isHeldBack.store(reading == .heldBack, ordering: .relaxed)
        self.handler.receiving.heldBack += reading == .heldBack ? 1 : -1
    }

    /// Returns the number of bytes of a message that may be read.
    ///
    /// A soft budget has room for one complete message of any size if the application waits and has no message to
    /// receive.
    private func room(for size: Int) -> Int {
        let room = self.state.window.room(after: 0)
        guard room < size, self.state.window.isAutomatic, self.arrivals.isEmpty else { return room }
        return self.state.window.heldBytes == 0 || self.inbox?.hasWaiters == true ? size : room
    }

    /// Counts the message at its first byte. Returns false if the link accepts no messages.
    private func begin() -> Bool {
        guard self.isLocallyOpen, self.inbox != nil else { return false }
        guard self.state.arrive() else {
            self.close(.overrun("a message was sent without credit"))
            return false
        }
        return true
    }

    /// Reads bytes of the collected message.
    func gather(_ count: Int) {
        let read = self.partial.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            self.link.receive(into: bytes.baseAddress, count)
        }
        self.account.add(read, of: self)
    }

    /// Reads a complete message into the room of the arrivals.
    private func completeSmall(_ delivery: ProtonDelivery, _ count: Int) {
        let (tagCount, room) = self.place(delivery.tag, before: count)
        let read = count > 0 ? self.link.receive(into: room, count) : 0
        self.account.add(read, of: self)
        let (slot, isReported) = self.complete(delivery, read)
        self.arrivals.append(
            tagCount: tagCount,
            count: read,
            slot: slot,
            sequence: self.sequence,
            isReported: isReported
        )
    }

    /// Adds the collected message to the arrivals.
    func completeLarge(_ delivery: ProtonDelivery) {
        let (tagCount, _) = self.place(delivery.tag, before: 0)
        let payload = self.partial
        self.partial = ByteBuffer()
        let (slot, isReported) = self.complete(delivery, payload.readableBytes)
        self.arrivals.append(
            large: .whole(payload),
            tagCount: tagCount,
            slot: slot,
            sequence: self.sequence,
            isReported: isReported
        )
    }

    /// Advances past the message. Returns the bits of the message's key (0 if it is settled), and whether its receipt
    /// is reported.
    private func complete(_ delivery: ProtonDelivery, _ count: Int) -> (slot: UInt, isReported: Bool) {
        self.sequence += 1
        let isSettled = delivery.isRemotelySettled
        let weight = self.account.complete(count, &self.state, of: self)
        self.meter?.receive(count)
        self.link.advance()
        var slot: UInt = 0
        if isSettled {
            delivery.settle()
        } else {
            slot = self.dispositions.append(delivery, self.sequence, weight: weight).bitPattern
        }
        let isReported = isSettled || !self.isHeldUntilSettled
        if isReported { self.account.keep(weight, isCounted: self.state.window.budget != nil) }
        return (slot, isReported)
    }

    /// Starts the arrival of a message: copies its tag, which Proton frees with the delivery. Returns the tag's length,
    /// and the room for `count` bytes after the tag.
    func place(_ tag: UnsafeRawBufferPointer, before count: Int) -> (count: Int, room: UnsafeMutableRawPointer) {
        let placed = self.arrivals.place(tag, before: count, keepsMark: self.handler.frames.receivesFormats)
        if self.arrivals.isEmpty { self.handler.arrivedReceivers.append(self) }
        return placed
    }

    private func aborted(_ delivery: ProtonDelivery) {
        self.dropPartial()
        // A message whose first transfer is an abort needs and uses credit too.
        guard self.state.message.hasBegun || self.begin() else { return self.discard() }
        let stream = self.streams?.arriving
        self.state.abort()
        if let stream { self.streams?.abort(stream) }
        self.account.count(0)
        delivery.settle()
        // Publish the credit here, because no arrival follows that would publish it.
        self.showCredit()
        self.topUp()
    }

    func refuseOversize() {
        let text = "a message is larger than the max-message-size of \(self.limits.maxMessageSize) bytes"
        self.close(AMQPError(scope: .link, condition: .linkMessageSizeExceeded, detail: text))
        self.discard()
    }

    /// Reads and drops bytes that still arrive on a link that this side has closed, so that the session's window does
    /// not leak.
    private func discard() {
        self.dropPartial()
        defer { if !self.isDone { self.session.incomingTaken() } }
        while !self.isDone, let delivery = self.link.dropCurrent() {
            // The peer must not regard the message as processed.
            if !delivery.isRemotelySettled, !delivery.isAborted {
                delivery.release()
            }
            delivery.settle()
        }
    }

    func dropPartial() {
        self.account.add(-self.partial.readableBytes, of: self)
        self.partial = ByteBuffer()
    }

    /// Hands the arrived messages to the tasks.
    func flushArrived() {
        guard !self.arrivals.isEmpty else { return }
        self.dispositions.proof.arrived(self.sequence)
        self.showCredit()
        if self.state.purpose.isStopping, let stopping = self.stopping {
            return stopping.setAside(self.arrivals.take())
        }
        self.inbox?.push(self.arrivals.take())
        self.promise()
        if self.streams != nil { self.streams?.showBuffered() }
        self.steps &+= 1
        self.session.noteIncoming()
        self.takeHeldBack()
        self.tune()
        // Other tasks may still wait, and the expected size of messages may have changed.
        self.topUp()
    }

    /// Receives messages that wait in Proton for room while tasks wait for messages.
    private func takeHeldBack() {
        while self.state.message.isHeldBack, self.state.window.isAutomatic, self.inbox?.hasWaiters == true {
            self.receive()
            guard !self.arrivals.isEmpty else { return }
            self.inbox?.push(self.arrivals.take())
        }
    }
}
