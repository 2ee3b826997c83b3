/// Fails the messages that a sender leaves unfinished when its link ends, and counts them.
struct SenderEnding {
    /// What ended the link.
    let cause: AMQPError
    let notSent: AMQPError
    let aborted: AMQPError
    private let inDoubt: AMQPError
    /// Where the messages are counted until their outcomes are read; `nil` if a close lists them.
    let unread: UnreadFailure?
    private let unreadInDoubt: UnreadFailure?
    private(set) var unsentCount = 0
    private(set) var inDoubtCount = 0

    /// - Parameter counts: What counts failures that no close lists.
    init(_ cause: AMQPError, _ counts: [UnreadFailures]) {
        self.cause = cause
        self.notSent = cause.telling(.notSent)
        self.aborted = cause.telling(.aborted)
        self.inDoubt = cause.telling(.inDoubt)
        self.unread = counts.isEmpty ? nil : UnreadFailure(counts: counts, isInDoubt: false)
        self.unreadInDoubt = counts.isEmpty ? nil : UnreadFailure(counts: counts, isInDoubt: true)
    }

    /// Fails the message that has begun. Its last bytes have not been handed over: the peer cannot have it.
    mutating func fail(begun message: PendingMessage) {
        self.unsentCount += 1
        message.outcome.fail(self.aborted, unread: self.unread)
    }

    /// Fails a message that has not begun.
    mutating func fail(waiting message: PendingMessage) {
        self.unsentCount += 1
        message.fail(self.notSent, unread: self.unread)
    }

    /// Fails a message that the peer has not settled.
    mutating func fail(unsettled promise: OutcomePromise) {
        self.inDoubtCount += 1
        promise.fail(self.inDoubt, unread: self.unreadInDoubt)
    }
}

extension AMQPUnfinished {
    /// What a sender has not sent, or the peer not settled, now.
    init(_ sender: SenderEndpoint, _ lane: SendFeed.Lane) {
        self.init(linkName: sender.status.name, address: sender.address)
        for current in sender.link.unsettled {
            // The message that has begun is the first of the lane still.
            guard !lane.isMidMessage || current != sender.link.current else { continue }
            if let context = current.context {
                self.inDoubt.append(AMQPTracker(OutcomePromise(pointer: context).reply))
            }
        }
        // One that was not made to its end cannot be sent again.
        self.notSent = lane.waiting.filter { $0.stream == 0 }.map { message in
            AMQPUnfinished.Unsent(
                payload: message.bytes.buffer,
                options: sender.options(of: message),
                tracker: AMQPTracker(message.outcome.reply)
            )
        }
    }
}
