internal import NIOCore

/// What was chosen for messages that have not begun to be sent, by the numbers of their outcomes.
struct SendChoices {
    private struct Kept {
        let choice: SendChoice
        /// The number of the mail with which it came.
        let mail: Int
    }

    private var kept: [UInt: Kept] = [:]
    /// Counts the mail that had choices.
    private var mail = 0

    var isEmpty: Bool { self.kept.isEmpty }
    var count: Int { self.kept.count }

    /// Keeps what was chosen for messages that have come with one mail. Returns whether a transfer of them shows it.
    mutating func keep(_ choices: inout [UInt: SendChoice]) -> Bool {
        self.mail += 1
        var isVisible = false
        for (number, choice) in choices {
            self.kept[number] = Kept(choice: choice, mail: self.mail)
            if choice.isVisible { isVisible = true }
        }
        choices.removeAll()
        return isVisible
    }

    /// Takes the choice of a message that begins. Throws when the message has expired.
    ///
    /// A message that came with the last mail leaves at once.
    mutating func begin(
        _ message: PendingMessage,
        at now: @autoclosure () -> NIODeadline
    ) throws(AMQPError) -> SendChoice? {
        guard message.hasChoice, let kept = self.kept.removeValue(forKey: message.outcome.number) else { return nil }
        if kept.mail != self.mail, let error = kept.choice.expiry(at: now()) { throw error }
        return kept.choice
    }

    mutating func take(of message: PendingMessage) -> SendChoice? {
        message.hasChoice ? self.kept.removeValue(forKey: message.outcome.number)?.choice : nil
    }

    /// A message that has not begun will not be sent.
    mutating func drop(of message: PendingMessage) {
        if message.hasChoice { self.kept[message.outcome.number] = nil }
    }

    subscript(message: PendingMessage) -> SendChoice? {
        message.hasChoice ? self.kept[message.outcome.number]?.choice : nil
    }

    // MARK: Expiry

    /// The time when the next message expires; `nil` when none does.
    var nextDeadline: NIODeadline? { self.kept.values.compactMap(\.choice.deadline).min() }

    /// The lanes with messages that have waited too long.
    func expiredLanes(at now: NIODeadline) -> Set<SlotKey> {
        Set(self.kept.values.lazy.map(\.choice).filter { $0.expiry(at: now) != nil }.map(\.lane))
    }
}

extension SendChoice {
    /// The error of a message that has waited too long; `nil` while it has not.
    func expiry(at now: NIODeadline) -> AMQPError? {
        guard let deadline = self.deadline, let limit = self.options.expiresAfter, deadline <= now else { return nil }
        return .expired(after: limit)
    }
}
