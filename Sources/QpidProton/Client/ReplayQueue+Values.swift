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

extension ReplayQueue.Finished: Sendable where Content: Sendable {}
