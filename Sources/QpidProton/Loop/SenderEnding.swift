// SPDX-License-Identifier: Apache-2.0

/// The end of a sender's unfinished messages with its link, which fails and counts them.
struct SenderEnding {
    /// The error that ended the link.
    let cause: AMQPError
    let notSent: AMQPError
    let aborted: AMQPError
    private let inDoubt: AMQPError
    /// The count of failures whose outcomes no task has read yet; `nil` if a close lists the messages.
    let unread: UnreadFailure?
    private let unreadInDoubt: UnreadFailure?
    private(set) var unsentCount = 0
    private(set) var inDoubtCount = 0

    /// Prepares the errors of the messages.
    ///
    /// - Parameter counts: The counts for failures that no close lists.
    init(_ cause: AMQPError, _ counts: [UnreadFailures]) {
        self.cause = cause
        self.notSent = cause.telling(.notSent)
        self.aborted = cause.telling(.aborted)
        self.inDoubt = cause.telling(.inDoubt)
        self.unread = counts.isEmpty ? nil : UnreadFailure(counts: counts, isInDoubt: false)
        self.unreadInDoubt = counts.isEmpty ? nil : UnreadFailure(counts: counts, isInDoubt: true)
    }

    /// Fails the started message. The peer cannot have received all of it, because Proton does not have its last bytes.
    mutating func fail(begun message: PendingMessage) {
        self.unsentCount += 1
        message.outcome.fail(self.aborted, unread: self.unread)
    }

    /// Fails a message that has not started.
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
    /// Collects the messages of a sender that are unsent or unsettled now.
    init(_ sender: SenderEndpoint, _ lane: SendFeed.Lane) {
        self.init(linkName: sender.status.name, address: sender.address)
        for current in sender.link.unsettled {
            // The started message is still the first of the lane.
            guard !lane.isMidMessage || current != sender.link.current else { continue }
            if let context = current.context {
                self.inDoubt.append(AMQPTracker(OutcomePromise(pointer: context).reply))
            }
        }
        // An incomplete message cannot be sent again.
        self.notSent = lane.waiting.filter { $0.stream == 0 }.map { message in
            AMQPUnfinished.Unsent(
                payload: message.bytes.buffer,
                options: sender.options(of: message),
                tracker: AMQPTracker(message.outcome.reply)
            )
        }
    }
}
