/// What became of the messages that were handed to a sender: the figures that must add up at every moment.
struct FateCounts: Hashable, Sendable {
    var handedOver = 0
    var accepted = 0
    var rejected = 0
    var released = 0
    var modified = 0
    var settled = 0
    var inDoubt = 0
    var notSent = 0
    var aborted = 0
    var dropped = 0
    var expired = 0
    /// Messages that wait in the queue, new or for another time.
    var queued = 0
    /// Messages that a link has, unsettled.
    var inFlight = 0

    /// The messages with a final fate.
    var finished: Int {
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
