// SPDX-License-Identifier: Apache-2.0

/// The side that resolves a tracker, exactly once.
struct TrackerPromise: Equatable, Sendable {
    let promise: OutcomePromise

    /// The tracker that the promise resolves.
    var tracker: AMQPTracker { AMQPTracker(self.promise.reply) }

    /// The place of the message with its holder, which reads and changes it under its lock.
    var place: Int {
        get { self.promise.place }
        nonmutating set { self.promise.place = newValue }
    }

    /// The number of times that the message may have been sent.
    var attempts: Int {
        get { self.promise.attempts }
        nonmutating set { self.promise.attempts = newValue }
    }

    /// The message while its bytes are in the memory of its link and the holder keeps them.
    var kept: KeptMessage? {
        get { self.promise.kept }
        nonmutating set { self.promise.kept = newValue }
    }

    /// Sets the outcome, or the error in its place. Releases the bytes that the holder still keeps.
    func resolve(_ answer: Result<AMQPOutcome, AMQPError>) {
        self.kept?.bytes.done()
        self.promise.finish(answer)
    }
}

/// The source of trackers of messages that no link has accepted yet. The holder of the messages resolves the trackers.
struct TrackerSource: Sendable {
    /// The answer of a link about a message.
    struct Answer: Sendable {
        let promise: TrackerPromise
        let result: Result<AMQPOutcome, AMQPError>

        init(_ promise: OutcomePromise, _ result: Result<AMQPOutcome, AMQPError>) {
            self.promise = TrackerPromise(promise: promise)
            self.result = result
        }
    }

    private var source: OutcomeSource
    /// A promise for which there was no message.
    private var spare: TrackerPromise?

    /// - Parameter body: Receives the answers of the links, on their event loops and without a lock.
    init(_ body: @escaping @Sendable ([Answer]) -> Void) {
        self.source = OutcomeSource(OutcomeOwner(body))
    }

    /// Returns the next promise.
    mutating func next() -> TrackerPromise {
        self.spare.take() ?? TrackerPromise(promise: self.source.next().promise)
    }

    /// Returns a promise that no message has used, for the next message.
    mutating func putBack(_ promise: TrackerPromise) { self.spare = promise }

    /// Frees the memory when all promises are resolved.
    mutating func close() {
        self.spare.take()?.resolve(.failure(.senderClosed))
        self.source.close()
    }
}
