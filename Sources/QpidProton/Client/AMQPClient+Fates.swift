// SPDX-License-Identifier: Apache-2.0

extension AMQPClient {
    /// The fates of the messages that the application handed to a ``Sender``: see ``Sender/fates``.
    ///
    /// ``handedOver`` is the sum of all other figures, at every moment.
    public struct Fates: Hashable, Sendable {
        /// The messages that the application handed over.
        public internal(set) var handedOver = 0
        /// The messages that the receiver accepted.
        public internal(set) var accepted = 0
        /// The messages that the receiver rejected.
        public internal(set) var rejected = 0
        /// The messages that the receiver released.
        public internal(set) var released = 0
        /// The messages that the receiver returned with changes.
        public internal(set) var modified = 0
        /// The messages without an outcome: they were sent settled, or the peer settled them without one.
        public internal(set) var settled = 0
        /// The messages that may have arrived and that the sender does not send again.
        public internal(set) var inDoubt = 0
        /// The messages of which no byte was sent and none will be.
        public internal(set) var notSent = 0
        /// The messages of which only a part was sent when their sender ended.
        public internal(set) var aborted = 0
        /// The messages that the sender dropped for lack of room.
        public internal(set) var dropped = 0
        /// The messages that expired before the sender could begin to send them.
        public internal(set) var expired = 0
        /// The messages, new or in doubt, that wait for a link or for room in it.
        public internal(set) var queued = 0
        /// The unsettled messages that a link has accepted.
        public internal(set) var inFlight = 0

        /// The messages with a final fate.
        public var finished: Int {
            let outcomes = self.accepted + self.rejected + self.released + self.modified + self.settled
            return outcomes + self.inDoubt + self.notSent + self.aborted + self.dropped + self.expired
        }

        /// Whether the counts include every message exactly once.
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
