// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The options of messages that have not started, by the numbers of their outcomes.
struct SendChoices {
    private struct Kept {
        let choice: SendChoice
        /// The number of the mail that carried the options.
        let mail: Int
    }

    private var kept: [UInt: Kept] = [:]
    /// The number of mails with options.
    private var mail = 0

    var isEmpty: Bool { self.kept.isEmpty }
    var count: Int { self.kept.count }

    /// Stores the options of messages in one mail. Returns whether an option changes a transfer.
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

    /// Removes the options of a message that starts. Throws if the message has expired.
    ///
    /// A message of the last mail starts at once, so no check of its expiry is needed.
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

    /// Removes the options of a message that is not sent.
    mutating func drop(of message: PendingMessage) {
        if message.hasChoice { self.kept[message.outcome.number] = nil }
    }

    subscript(message: PendingMessage) -> SendChoice? {
        message.hasChoice ? self.kept[message.outcome.number]?.choice : nil
    }

    // MARK: Expiry

    /// The time of the next expiry; `nil` if no message expires.
    var nextDeadline: NIODeadline? { self.kept.values.compactMap(\.choice.deadline).min() }

    /// Returns the lanes with expired messages.
    func expiredLanes(at now: NIODeadline) -> Set<SlotKey> {
        Set(self.kept.values.lazy.map(\.choice).filter { $0.expiry(at: now) != nil }.map(\.lane))
    }
}

extension SendChoice {
    /// Returns the error of an expired message; `nil` otherwise.
    func expiry(at now: NIODeadline) -> AMQPError? {
        guard let deadline = self.deadline, let limit = self.options.expiresAfter, deadline <= now else { return nil }
        return .expired(after: limit)
    }
}
