// SPDX-License-Identifier: Apache-2.0

extension AMQPClient {
    /// What became of the messages that were handed to a ``Sender``: see ``Sender/fates``.
    ///
    /// ``handedOver`` is the sum of all other figures, at every moment.
    public struct Fates: Hashable, Sendable {
        /// The messages that were handed over.
        public internal(set) var handedOver = 0
        /// Those that the receiver accepted.
        public internal(set) var accepted = 0
        /// Those that the receiver rejected.
        public internal(set) var rejected = 0
        /// Those that the receiver released.
        public internal(set) var released = 0
        /// Those that the receiver returned with changes.
        public internal(set) var modified = 0
        /// Those that were settled without an outcome: sent settled, or the peer named none.
        public internal(set) var settled = 0
        /// Those that may have arrived and are not sent again.
        public internal(set) var inDoubt = 0
        /// Those of which no byte has left, and that will not leave.
        public internal(set) var notSent = 0
        /// Those that had left in part when their sender ended.
        public internal(set) var aborted = 0
        /// Those that were dropped for lack of room.
        public internal(set) var dropped = 0
        /// Those that did not begin to leave in time.
        public internal(set) var expired = 0
        /// Those that wait for a link or its room, new or to be sent again.
        public internal(set) var queued = 0
        /// Those that a link has accepted, and that are not settled.
        public internal(set) var inFlight = 0

        /// The messages with a final fate.
        public var finished: Int {
            let outcomes = self.accepted + self.rejected + self.released + self.modified + self.settled
            return outcomes + self.inDoubt + self.notSent + self.aborted + self.dropped + self.expired
        }

        /// Whether every message that was handed over is counted exactly once.
        var addUp: Bool { self.handedOver == self.finished + self.queued + self.inFlight }

        mutating func count(_ outcome: AMQPOutcome) {
            switch outcome {
            case .accepted: self.accepted += 1
            case .rejected: self.rejected += 1
            case .released: self.released += 1
            case .modified: self.modified += 1
            case .settled: self.settled += 1
            }
        }

        mutating func count(_ fate: AMQPError.Fate) {
            switch fate {
            case .inDoubt: self.inDoubt += 1
            case .aborted: self.aborted += 1
            case .dropped: self.dropped += 1
            case .expired: self.expired += 1
            default: self.notSent += 1
            }
        }
    }
}
