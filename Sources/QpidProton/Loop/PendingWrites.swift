internal import DequeModule

/// The writes that the socket has not confirmed, oldest first, and the bytes of messages that each carries.
///
/// The socket confirms a write by its promise, which confirms those before it too. Writes without one come before all with one.
struct PendingWrites {
    private struct Write {
        let bytes: Int
        var messages: Int
        let isPromised: Bool
    }

    /// What the socket has taken, or lost.
    struct Confirmed {
        var writes = 0
        var bytes = 0
        fileprivate(set) var messages = 0
    }

    private var writes: Deque<Write> = []
    /// The bytes of messages that the writes carry, and then those that have been framed since.
    private var messages: Deque<InFlightBytes> = []
    private var newMessages = 0
    /// How many writes have a promise.
    private(set) var promised = 0

    var isEmpty: Bool { self.writes.isEmpty }
    /// Writes that no promise confirms.
    var hasUnpromised: Bool { self.promised == 0 && !self.writes.isEmpty }
    var hasNewMessages: Bool { self.newMessages > 0 }

    /// Adds bytes that Proton has framed: the next write carries them.
    mutating func add(_ message: InFlightBytes) {
        self.messages.append(message)
        self.newMessages += 1
    }

    /// Adds a write, which carries what was framed before it.
    mutating func add(bytes: Int, isPromised: Bool) {
        self.writes.append(Write(bytes: bytes, messages: self.newMessages, isPromised: isPromised))
        self.newMessages = 0
        if isPromised { self.promised += 1 }
    }

    /// Has the last write carry what was framed behind it without a byte, if there is a write.
    mutating func addToLast() -> Bool {
        guard let last = self.writes.indices.last else { return false }
        self.writes[last].messages += self.newMessages
        self.newMessages = 0
        return true
    }

    /// Takes the writes up to the first with a promise, or all if there is none.
    mutating func confirm() -> Confirmed {
        var confirmed = Confirmed()
        while let write = self.writes.popFirst() {
            confirmed.bytes += write.bytes
            confirmed.messages += write.messages
            // A mark behind writes without promises is no write.
            if write.bytes > 0 { confirmed.writes += 1 }
            guard write.isPromised else { continue }
            self.promised -= 1
            break
        }
        return confirmed
    }

    /// Takes what was framed and is carried by no write.
    mutating func confirmNew() -> Confirmed {
        defer { self.newMessages = 0 }
        return Confirmed(messages: self.newMessages)
    }

    /// Takes the bytes of the next message that a confirmed write carried.
    @inline(__always)
    mutating func next(of confirmed: inout Confirmed) -> InFlightBytes? {
        guard confirmed.messages > 0 else { return nil }
        confirmed.messages -= 1
        return self.messages.popFirst()
    }
}
