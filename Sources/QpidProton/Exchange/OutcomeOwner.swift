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

/// The answers of one turn of the event loop, which their holder handles in one step.
///
/// Used on the event loop only. A holder that hands over further messages may come back to it.
final class OwnedAnswers {
    /// The most answers whose memory is kept for the next turn.
    private static let kept = 1_024

    // Never accessed twice at a time: a holder runs after the list is taken, so the checks are off.
    @exclusivity(unchecked) private var owner: OutcomeOwner?
    @exclusivity(unchecked) private var answers: [TrackerSource.Answer] = []

    /// Adds an answer. Reports the answers of another holder first.
    func add(_ answer: OutcomeBlock.Answer, for promise: OutcomePromise, of owner: OutcomeOwner) {
        if self.owner !== owner {
            self.report()
            self.owner = owner
        }
        self.answers.append(TrackerSource.Answer(promise, answer))
    }

    /// Reports the answers to their holder.
    @inline(__always)
    func report() { if self.owner != nil { self.reportAll() } }

    private func reportAll() {
        guard let owner = self.owner else { return }
        var answers = self.answers
        (self.owner, self.answers) = (nil, [])
        owner.receive(answers)
        guard self.owner == nil, answers.count <= Self.kept else { return }
        answers.removeAll(keepingCapacity: true)
        self.answers = answers
    }
}
