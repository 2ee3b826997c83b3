// SPDX-License-Identifier: Apache-2.0

/// The holder of messages that outlive their links. The holder receives the answers of the links, and decides which of
/// them resolve the trackers.
final class OutcomeOwner: Sendable {
    private let body: @Sendable ([TrackerSource.Answer]) -> Void

    init(_ body: @escaping @Sendable ([TrackerSource.Answer]) -> Void) { self.body = body }

    func receive(_ answers: [TrackerSource.Answer]) { self.body(answers) }

    func receive(_ answer: OutcomeBlock.Answer, for promise: OutcomePromise) {
        self.body([TrackerSource.Answer(promise, answer)])
    }
}

/// The answers of one turn of the event loop for one holder, which handles them in one step.
struct OwnedAnswers {
    /// The most answers whose memory is kept for the next turn.
    private static let kept = 1_024

    private var owner: OutcomeOwner?
    private var answers: [TrackerSource.Answer] = []

    var isEmpty: Bool { self.owner == nil }

    /// Adds an answer. Returns false if the caller must first report the answers of another holder.
    mutating func add(_ answer: OutcomeBlock.Answer, for promise: OutcomePromise, of owner: OutcomeOwner) -> Bool {
        guard self.owner == nil || self.owner === owner else { return false }
        if self.owner == nil { self.owner = owner }
        self.answers.append(TrackerSource.Answer(promise, answer))
        return true
    }

    /// Removes the answers, and returns them with their holder.
    mutating func take() -> (owner: OutcomeOwner, answers: [TrackerSource.Answer])? {
        guard let owner = self.owner else { return nil }
        defer {
            self.owner = nil
            self.answers = []
        }
        return (owner, self.answers)
    }

    /// Keeps the memory of handled answers for the next turn.
    mutating func reuse(_ handled: consuming [TrackerSource.Answer]) {
        guard self.isEmpty, handled.count <= Self.kept else { return }
        handled.removeAll(keepingCapacity: true)
        self.answers = handled
    }
}
