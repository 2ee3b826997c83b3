// SPDX-License-Identifier: Apache-2.0

/// An application's decision about one delivery, on its way to the loop.
struct Settlement: Sendable {
    /// An outcome without data, or a reference to an outcome with data. The value is small, because the loop sorts and
    /// copies many settlements.
    private enum Decision: Sendable {
        case accepted
        case released
        case other(Box)
    }

    private final class Box: Sendable {
        let outcome: AMQPOutcome
        init(_ outcome: AMQPOutcome) { self.outcome = outcome }
    }

    let receiver: SlotKey
    let slot: SlotKey
    /// The delivery's number in the order of arrival. The loop sorts settlements by it, so that ranges form.
    let sequence: UInt64
    private let decision: Decision
    /// Whether all earlier unsettled deliveries of the receiver have the same outcome.
    let includesEarlier: Bool

    init(receiver: SlotKey, slot: SlotKey, sequence: UInt64, outcome: AMQPOutcome, includesEarlier: Bool) {
        self.receiver = receiver
        self.slot = slot
        self.sequence = sequence
        self.includesEarlier = includesEarlier
        switch outcome {
        case .accepted: self.decision = .accepted
        case .released: self.decision = .released
        case .rejected, .modified, .settled: self.decision = .other(Box(outcome))
        }
    }

    var outcome: AMQPOutcome {
        switch self.decision {
        case .accepted: .accepted
        case .released: .released
        case .other(let box): box.outcome
        }
    }
}
