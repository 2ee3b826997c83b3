// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization

/// The fates of one sender's messages, by the numbers in their bodies.
///
/// Offered = accepted + rejected + released + unsettled + unsent + sent settled. Each message counts once.
final class SendAccount: Sendable {
    /// The fate of a message, as the library reported it to the sender.
    enum Fate: String, Sendable, CaseIterable {
        case accepted, rejected, released
        /// The peer may have received the message.
        case unsettled
        /// The peer has not received the message.
        case unsent
        /// The message was sent settled and written, so no outcome follows.
        case settled
    }

    private struct State {
        var offered = 0
        var fates: [Int: Fate] = [:]
        var counts: [Fate: Int] = [:]
        var faults: [String] = []
        var errors: [AMQPError] = []
    }

    private let state = Mutex(State())

    var offered: Int { self.state.withLock { $0.offered } }
    var fates: [Int: Fate] { self.state.withLock { $0.fates } }
    /// Returns the number of messages with a fate.
    func count(_ fate: Fate) -> Int { self.state.withLock { $0.counts[fate] ?? 0 } }
    /// The violations: messages with two fates, and errors without a fate.
    var faults: [String] { self.state.withLock { $0.faults } }
    /// The errors of the messages without an outcome, each once.
    var errors: [AMQPError] { self.state.withLock { $0.errors } }
    var isComplete: Bool { self.state.withLock { $0.offered == $0.fates.count } }
    var sums: MessageSums {
        self.state.withLock { MessageSums(offered: $0.offered, counts: $0.counts) }
    }

    /// Offers a message to a sender, and records its fate.
    ///
    /// - Returns: The transfer; `nil` if the sender refused the message.
    @discardableResult
    func offer(
        _ number: Int,
        _ send: () async throws(AMQPError) -> AMQPTracker
    ) async -> AMQPTracker? {
        self.state.withLock { $0.offered += 1 }
        do throws(AMQPError) {
            let transfer = try await send()
            transfer.whenSettled { self.note(number, $0) }
            return transfer
        } catch {
            self.note(number, error.fate == .notSent ? .unsent : nil, error)
            return nil
        }
    }

    private func note(_ number: Int, _ result: Result<AMQPOutcome, AMQPError>) {
        switch result {
        case .success(.accepted): self.note(number, .accepted)
        case .success(.rejected): self.note(number, .rejected)
        case .success(.released), .success(.modified): self.note(number, .released)
        case .success(.settled): self.note(number, .settled)
        case .failure(let error):
            self.note(number, error.fate == .notSent ? .unsent : error.fate == .inDoubt ? .unsettled : nil, error)
        }
    }

    private func note(_ number: Int, _ fate: Fate?, _ error: AMQPError? = nil) {
        self.state.withLock { state in
            if let error, !state.errors.contains(error) { state.errors.append(error) }
            guard let fate else {
                return state.faults.append("message \(number): the error has no fate: \(String(describing: error))")
            }
            state.counts[fate, default: 0] += 1
            if let other = state.fates.updateValue(fate, forKey: number) {
                state.faults.append("message \(number): \(other), and then \(fate)")
            }
        }
    }

    /// Compares the fates with the decisions of the receiver's application, and returns the differences.
    func disagreements(with receiver: ReadController) -> [String] {
        let (got, fates) = (receiver.decisions, self.fates)
        var found = self.faults
        if !self.isComplete { found.append("\(self.offered) messages offered, \(fates.count) with a fate") }
        for (number, fate) in fates {
            switch fate {
            case .unsettled, .settled: break
            case .unsent: if got[number] != nil { found.append("message \(number): unsent, but the receiver has it") }
            case .accepted, .rejected, .released:
                // The receiver's account reports a message that arrived twice.
                if got[number] != fate {
                    found.append("message \(number): \(fate), and the receiver: \(got[number]?.rawValue ?? "nothing")")
                }
            }
        }
        return found + receiver.faults
    }
}

/// The messages that a receiver's application received, with its decisions.
final class ReadController: Sendable {
    private struct State {
        var decisions: [Int: SendAccount.Fate] = [:]
        var faults: [String] = []
    }

    private let state = Mutex(State())

    var decisions: [Int: SendAccount.Fate] { self.state.withLock { $0.decisions } }
    var faults: [String] { self.state.withLock { $0.faults } }

    /// Decides about a message by its number, and records the decision before the library sends it.
    func decide(_ delivery: AMQPDelivery) {
        let number = delivery.number
        let decision: SendAccount.Fate =
            switch number % 5 {
            case 2: .rejected
            case 3: .released
            default: .accepted
            }
        self.state.withLock { state in
            if state.decisions.updateValue(decision, forKey: number) != nil {
                state.faults.append("message \(number) arrived twice")
            }
        }
        switch decision {
        case .rejected: delivery.reject(AMQPError(scope: .delivery, condition: .notAllowed, detail: "not that one"))
        case .released: delivery.release()
        default: delivery.accept()
        }
    }
}

/// The number of messages with each fate.
struct MessageSums: Hashable, Sendable, CustomStringConvertible {
    var offered = 0
    var counts: [SendAccount.Fate: Int] = [:]

    /// Whether every offered message has exactly one fate.
    var addUp: Bool { self.offered == self.counts.values.reduce(0, +) }

    static func += (left: inout Self, right: Self) {
        left.offered += right.offered
        left.counts.merge(right.counts, uniquingKeysWith: +)
    }

    var description: String {
        let parts = SendAccount.Fate.allCases.filter { $0 != .settled || self.counts[$0] != nil }
            .map { "\(self.counts[$0] ?? 0) \($0)" }
        return "\(self.offered) offered = " + parts.joined(separator: " + ")
    }
}

extension AMQPMessage {
    /// Creates a message with its number and `padding` further bytes.
    init(number: Int, padding: Int = 0) {
        self.init(body: "\(number) " + String(repeating: "x", count: padding))
    }
}

extension AMQPDelivery {
    /// The number in the message's body; negative if there is none.
    var number: Int {
        let body = (try? self.decodeMessage().bodyString) ?? ""
        return body.split(separator: " ").first.flatMap { Int($0) } ?? -1
    }
}
