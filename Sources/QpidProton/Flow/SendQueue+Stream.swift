// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

// Messages that are created while they are sent. Their parts wait outside the backlog. The backlog contains only their
// start, so that later messages stay behind them.

// rooms: PendingMessage, StreamPart, MessageBytes, OutcomeReply: plain values; the queue moves them, and asks for their sizes.

extension SendQueue {
    /// Appends a part to the waiting parts of its message. Returns false if the message has ended, in which case the
    /// caller must release the part.
    mutating func enqueue(_ part: StreamPart, on lane: Lane) -> Bool {
        guard lane.append(part) else { return false }
        self.makeReadyIfMovable(lane)
        return true
    }
}

extension SendQueue.Lane {
    /// Returns whether a message is the started message of the lane.
    func isCurrent(_ reply: OutcomeReply) -> Bool {
        self.isMidMessage && self.backlog.first?.outcome.belongs(to: reply) == true
    }

    fileprivate func append(_ part: StreamPart) -> Bool {
        guard self.streams[part.stream]?.append(part) != nil else { return false }
        if self.isInParts, self.backlog.first?.stream == part.stream { self.isDry = false }
        return true
    }

    /// Returns the next piece of the started message, or of the next message.
    func nextOfStream(_ message: PendingMessage, _ limit: Int) -> SendQueue.Slice? {
        let part = self.isInParts ? self.streams[message.stream]?.first : nil
        if self.isInParts, part == nil { return nil }
        let bytes = part?.bytes ?? message.bytes
        let end = min(bytes.count, self.offset + max(1, limit))
        let isWhole = end == bytes.count
        let slice = SendQueue.Slice(
            message: message,
            bytes: bytes,
            range: self.offset..<end,
            isFirst: !self.isMidMessage,
            isLast: isWhole && part?.isLast == true
        )
        self.isMidMessage = true
        self.offset = isWhole ? 0 : end
        if slice.isLast {
            self.backlog.removeFirst()
            _ = self.streams.removeValue(forKey: message.stream)
            self.beginAnew()
        } else if isWhole {
            if self.isInParts { self.streams[message.stream]?.removeFirst() }
            self.isInParts = true
            self.isDry = self.streams[message.stream]?.isEmpty ?? true
        }
        return slice
    }

    /// Starts the next message.
    func beginAnew() {
        self.offset = 0
        self.isMidMessage = false
        self.isInParts = false
        self.isDry = false
    }

    /// Frees the waiting parts of a message. Returns their weight in the ledgers.
    func dropParts(of message: PendingMessage) -> Int {
        guard message.stream != 0, let parts = self.streams.removeValue(forKey: message.stream) else { return 0 }
        for part in parts { part.bytes.done() }
        return parts.reduce(0) { $0 + $1.ledgerBytes }
    }
}
