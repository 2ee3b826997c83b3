/// The side that answers a tracker. It must be answered exactly once.
struct TrackerPromise: Sendable {
    fileprivate let promise: OutcomePromise

    /// Gives the outcome, or the error in its place.
    func resolve(_ answer: Result<AMQPOutcome, AMQPError>) { self.promise.resolve(answer) }
}

/// Makes trackers of messages that no link has accepted yet: whoever holds the messages answers them.
struct TrackerSource: Sendable {
    private var source = OutcomeSource()

    /// The two sides of the next tracker.
    mutating func next() -> (promise: TrackerPromise, tracker: AMQPTracker) {
        let next = self.source.next()
        return (TrackerPromise(promise: next.promise), AMQPTracker(next.reply))
    }

    /// Lets the memory go when all promises are kept.
    mutating func close() { self.source.close() }
}
