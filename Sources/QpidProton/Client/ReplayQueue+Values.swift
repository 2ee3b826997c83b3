// SPDX-License-Identifier: Apache-2.0

// The values of a sender's queue.

extension ReplayQueue {
    /// The settings.
    struct Limits: Hashable, Sendable {
        /// The most bytes in the queue, with the overhead of each message.
        var bytes = 16 << 20
        /// Whether messages in doubt are sent again; otherwise they fail.
        var replays = true
        /// The number of losses in a row after which the message at the head is not sent again.
        var poison = 3
    }

    /// The figures of a message: a plain value, because the queue changes them several times for each message.
    struct Figures: Sendable {
        /// The number of the message, from 0 in the order of acceptance.
        let sequence: UInt64
        /// The bytes of the encoded message.
        let bytes: Int
        /// The deadline for the first byte; `nil` for none.
        let deadline: Duration?
        /// Whether the message is sent settled.
        let isSettled: Bool
        var isInFlight = false
        /// How often the message may have been sent.
        var attempts = 0

        /// Whether the message may have been sent and waits to be sent again.
        var isInDoubt: Bool { !self.isInFlight && self.attempts > 0 }
        var charge: Int { ReplayQueue.charge(self.bytes) }
    }

    /// A message with its figures.
    struct Entry {
        let figures: Figures
        let content: Content

        var isSettled: Bool { self.figures.isSettled }
        var attempts: Int { self.figures.attempts }
        var isInDoubt: Bool { self.figures.isInDoubt }
    }

    /// The identity of a message in the queue.
    struct Key: Hashable, Sendable {
        let slot: Int
        let sequence: UInt64
    }

    /// The reason why the queue gave a message its fate.
    enum Cause: Hashable, Sendable {
        /// Its time limit passed.
        case expired
        /// It was in doubt, and the sender does not send it again.
        case lost
        /// It was first in doubt in too many losses.
        case poison(losses: Int)
        /// A newer message replaced it at the limit.
        case dropped
        /// The sender ended.
        case ended
    }

    /// A message whose fate the queue has decided.
    struct Finished {
        let entry: Entry
        let fate: AMQPError.Fate
        let cause: Cause
    }
}

extension ReplayQueue.Entry: Sendable where Content: Sendable {}
extension ReplayQueue.Finished: Sendable where Content: Sendable {}
