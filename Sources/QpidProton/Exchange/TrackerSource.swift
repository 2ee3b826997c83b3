// SPDX-License-Identifier: Apache-2.0

/// The side that resolves a tracker, exactly once.
struct TrackerPromise: Sendable {
    fileprivate let promise: OutcomePromise

    /// The number of times that the message may have been sent.
    var attempts: Int {
        get { self.promise.attempts }
        nonmutating set { self.promise.attempts = newValue }
    }

    /// Sets the outcome, or the error in its place.
    func resolve(_ answer: Result<AMQPOutcome, AMQPError>) { self.promise.resolve(answer) }
}

/// The source of trackers of messages that no link has accepted yet. The holder of the messages resolves the trackers.
struct TrackerSource: Sendable {
    private var source = OutcomeSource()

    /// Returns the two sides of the next tracker.
    mutating func next() -> (promise: TrackerPromise, tracker: AMQPTracker) {
        let next = self.source.next()
        return (TrackerPromise(promise: next.promise), AMQPTracker(next.reply))
    }

    /// Frees the memory when all promises are resolved.
    mutating func close() { self.source.close() }
}
