// SPDX-License-Identifier: Apache-2.0

/// The place where a receiver continues in a RabbitMQ stream after a loss: behind the settled messages.
///
/// A stream keeps its messages and accepts no returns. It sends unsettled messages again, and all later ones with them.
struct StreamPlace: Sendable {
    /// Whether the source is a stream; `nil` while that is unknown.
    var isStream: Bool?
    /// The offsets of the received, unsettled messages of the current link, by their sequence.
    private var unsettled: [UInt64: UInt64] = [:]
    /// The offset behind all received messages.
    private var end: UInt64?

    /// The offset at which the next link begins; `nil` before the first message.
    var next: UInt64? { self.unsettled.values.min() ?? self.end }

    /// Records that a task receives a message.
    mutating func take(_ sequence: UInt64, offset: UInt64, isSettled: Bool) {
        self.end = max(self.end ?? 0, offset == .max ? offset : offset + 1)
        if !isSettled { self.unsettled[sequence] = offset }
    }

    /// Records that a message is settled.
    mutating func settle(_ sequence: UInt64, includesEarlier: Bool) {
        self.unsettled[sequence] = nil
        if includesEarlier { self.unsettled = self.unsettled.filter { $0.key > sequence } }
    }

    /// Records the loss of the link: the stream sends unsettled messages again.
    mutating func lose() {
        self.end = self.next
        self.unsettled = [:]
    }
}
