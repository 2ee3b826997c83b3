// SPDX-License-Identifier: Apache-2.0

/// Where a receiver goes on in a RabbitMQ stream after a loss: behind the messages that were settled.
///
/// A stream keeps its messages and takes nothing back. A message that was taken and not settled comes again, and with it
/// those after it.
struct StreamPlace: Sendable {
    /// Whether the source is a stream; nil as long as that is not known.
    var isStream: Bool?
    /// The offsets of the messages that were taken from the present link and are not settled, by their sequence.
    private var unsettled: [UInt64: UInt64] = [:]
    /// The offset behind all messages that were taken.
    private var end: UInt64?

    /// The offset at which the next link begins; nil if no message was taken.
    var next: UInt64? { self.unsettled.values.min() ?? self.end }

    /// A task takes a message.
    mutating func take(_ sequence: UInt64, offset: UInt64, isSettled: Bool) {
        self.end = max(self.end ?? 0, offset == .max ? offset : offset + 1)
        if !isSettled { self.unsettled[sequence] = offset }
    }

    /// A message is settled.
    mutating func settle(_ sequence: UInt64, includesEarlier: Bool) {
        self.unsettled[sequence] = nil
        if includesEarlier { self.unsettled = self.unsettled.filter { $0.key > sequence } }
    }

    /// The link is lost: what is not settled comes again.
    mutating func lose() {
        self.end = self.next
        self.unsettled = [:]
    }
}
