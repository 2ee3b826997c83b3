// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// One direction of a connection through a ``FaultProxy``, used on the event loop only.
final class FaultPipe {
    private struct Held {
        let arrival: NIODeadline
        var bytes: ByteBuffer
    }

    private let source: any Channel
    private let sink: any Channel
    private var plan: FaultPlan
    private let record: FaultProxy.Record
    private var held = CircularBuffer<Held>()
    private var heldBytes = 0
    private var received = 0
    private var forwarded = 0
    /// The earliest time of the next write at the plan's rate.
    private var nextWrite = NIODeadline.uptimeNanoseconds(0)
    private var isWriting = false
    private var timer: Scheduled<Void>?
    private var wantsRead = false
    private var hasSourceEnded = false
    /// Whether the pipe discards received bytes.
    private var isOver = false
    /// Whether the pipe has ended the sink's input.
    private(set) var hasEnded = false
    /// Ends both directions. The flag requests a RST.
    var onCut: (Bool) -> Void = { _ in }
    /// Called at the end of this direction.
    var onEnd: () -> Void = {}

    init(from source: any Channel, to sink: any Channel, _ plan: FaultPlan, _ record: FaultProxy.Record) {
        self.source = source
        self.sink = sink
        self.plan = plan
        self.record = record
    }

    private var loop: any EventLoop { self.source.eventLoop }

    func start() {
        self.requestRead()
        self.endIfDue()
    }

    func change(_ plan: FaultPlan) {
        self.plan = plan
        self.pump()
        self.endIfDue()
    }

    // MARK: From the source

    func read(_ buffer: ByteBuffer) {
        self.wantsRead = false
        let first = self.received
        self.received += buffer.readableBytes
        self.record.change { $0.received = self.received }
        guard !self.isOver else { return }
        var buffer = buffer
        for (offset, mask) in self.plan.flips {
            let index = buffer.readerIndex + offset - first
            guard let byte = buffer.getInteger(at: index, as: UInt8.self) else { continue }
            buffer.setInteger(byte ^ mask, at: index)
        }
        self.heldBytes += buffer.readableBytes
        self.held.append(Held(arrival: .now(), bytes: buffer))
        self.record.change { $0.heldPeak = max($0.heldPeak, self.heldBytes) }
        self.pump()
    }

    /// Records that the source has ended its output.
    func sourceEnded() {
        self.hasSourceEnded = true
        self.record.change { $0.hasSourceEnded = true }
        self.pump()
    }

    func requestRead() {
        guard !self.wantsRead, self.isOver || self.heldBytes < self.plan.capacity else { return }
        self.wantsRead = true
        self.source.read()
    }

    // MARK: To the sink

    /// Forwards the bytes that the plan allows now, in segments.
    func pump() {
        while !self.isOver, !self.isWriting, let count = self.takeable() { self.write(count) }
        self.requestRead()
        if self.hasSourceEnded, self.held.isEmpty, !self.isWriting, !self.isOver { self.halfClose() }
    }

    /// Returns how many bytes the plan allows now; `nil` if the pipe must wait.
    private func takeable() -> Int? {
        guard let first = self.held.first else { return nil }
        var due = first.arrival + TimeAmount(self.plan.delay)
        if let gather = self.plan.gather, self.heldBytes < gather.bytes, !self.hasSourceEnded {
            due = max(due, first.arrival + TimeAmount(gather.time))
        }
        due = max(due, self.nextWrite)
        guard due <= .now() else {
            self.comeBack(at: due)
            return nil
        }
        // Bytes of different reads are forwarded at different times.
        var count = self.plan.gather == nil ? first.bytes.readableBytes : self.heldBytes
        if let segment = self.plan.segment { count = min(count, max(1, segment)) }
        // A write has at most the bytes of 20 ms, so that a slow line has no bursts.
        if let rate = self.plan.bytesPerSecond { count = min(count, max(1, rate / 50)) }
        if let ending = self.plan.ending { count = min(count, ending.offset - self.forwarded) }
        return count > 0 ? count : nil
    }

    private func write(_ count: Int) {
        var out = self.source.allocator.buffer(capacity: count)
        while out.readableBytes < count, !self.held.isEmpty {
            if var slice = self.held[self.held.startIndex].bytes.readSlice(
                length: min(count - out.readableBytes, self.held[self.held.startIndex].bytes.readableBytes)
            ) {
                out.writeBuffer(&slice)
            }
            if self.held[self.held.startIndex].bytes.readableBytes == 0 { self.held.removeFirst() }
        }
        if let rate = self.plan.bytesPerSecond {
            self.nextWrite = max(self.nextWrite, .now()) + .nanoseconds(Int64(count) * 1_000_000_000 / Int64(rate))
        }
        self.isWriting = true
        self.forwarded += count
        let keeps = self.plan.records ? Array(out.readableBytesView) : []
        let flushed = self.sink.writeAndFlush(out)
        flushed.assumeIsolated().whenComplete { _ in
            if !self.isOver { self.heldBytes -= count }
            self.record.change { record in
                record.forwarded += count
                record.segments += 1
                record.bytes += keeps
            }
            self.isWriting = false
            self.endIfDue()
            // A separate turn, because the kernel would join the segments of one turn.
            let bound = NIOLoopBound(self, eventLoop: self.loop)
            self.loop.execute { bound.value.pump() }
        }
    }

    private func comeBack(at deadline: NIODeadline) {
        self.timer?.cancel()
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.timer = self.loop.scheduleTask(deadline: deadline) { bound.value.pump() }
    }

    // MARK: Endings

    private func endIfDue() {
        guard let ending = self.plan.ending, self.forwarded >= ending.offset, !self.isWriting else { return }
        self.end(ending.1)
    }

    func end(_ ending: FaultPlan.Ending) {
        guard !self.isOver else { return }
        self.record.change { $0.hasEnded = true }
        switch ending {
        case .halfClose: self.halfClose()
        case .blackHole: self.discard()
        case .cut, .reset:
            self.discard()
            self.onCut(ending == .reset)
        }
    }

    private func halfClose() {
        self.discard()
        self.hasEnded = true
        self.sink.close(mode: .output, promise: nil)
        self.onEnd()
    }

    /// Discards the held bytes and all later ones.
    func discard() {
        self.isOver = true
        self.held.removeAll()
        self.heldBytes = 0
        self.timer?.cancel()
        self.requestRead()
    }
}
