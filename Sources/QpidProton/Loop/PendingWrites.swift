// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// The unconfirmed writes, oldest first, with the bytes of messages in each.
///
/// The socket confirms a write by its promise, which also confirms earlier writes. Writes without a promise precede all
/// writes with a promise.
struct PendingWrites {
    private struct Write {
        let bytes: Int
        var messages: Int
        let isPromised: Bool
    }

    /// The writes that the socket has accepted or lost.
    struct Confirmed {
        var writes = 0
        var bytes = 0
        fileprivate(set) var messages = 0
    }

    private var writes: Deque<Write> = []
    /// The bytes of messages in the writes, followed by those that Proton has framed since.
    private var messages: Deque<InFlightBytes> = []
    private var newMessages = 0
    /// The number of writes with a promise.
    private(set) var promised = 0

    var isEmpty: Bool { self.writes.isEmpty }
    /// Whether there are writes that no promise confirms.
    var hasUnpromised: Bool { self.promised == 0 && !self.writes.isEmpty }
    var hasNewMessages: Bool { self.newMessages > 0 }

    /// Adds framed bytes for the next write.
    mutating func add(_ message: InFlightBytes) {
        self.messages.append(message)
        self.newMessages += 1
    }

    /// Adds a write with the bytes framed before it.
    mutating func add(bytes: Int, isPromised: Bool) {
        self.writes.append(Write(bytes: bytes, messages: self.newMessages, isPromised: isPromised))
        self.newMessages = 0
        if isPromised { self.promised += 1 }
    }

    /// Adds message bytes for which Proton wrote no output to the last write. Returns false if there is no write.
    mutating func addToLast() -> Bool {
        guard let last = self.writes.indices.last else { return false }
        self.writes[last].messages += self.newMessages
        self.newMessages = 0
        return true
    }

    /// Removes the writes up to the first write with a promise, or all writes if there is no promise.
    mutating func confirm() -> Confirmed {
        var confirmed = Confirmed()
        while let write = self.writes.popFirst() {
            confirmed.bytes += write.bytes
            confirmed.messages += write.messages
            // An empty write after writes without promises does not count as a write.
            if write.bytes > 0 { confirmed.writes += 1 }
            guard write.isPromised else { continue }
            self.promised -= 1
            break
        }
        return confirmed
    }

    /// Removes framed bytes that no write carries.
    mutating func confirmNew() -> Confirmed {
        defer { self.newMessages = 0 }
        return Confirmed(messages: self.newMessages)
    }

    /// Removes and returns the bytes of the next message in a confirmed write.
    @inline(__always)
    mutating func next(of confirmed: inout Confirmed) -> InFlightBytes? {
        guard confirmed.messages > 0 else { return nil }
        confirmed.messages -= 1
        return self.messages.popFirst()
    }
}
