// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization

/// What became of the messages of one sender, by the numbers that the messages carry.
///
/// Offered = accepted + rejected + released + unsettled + unsent, with what was sent settled; each message is in one alone.
final class SendAccount: Sendable {
    /// What the sender's side was told of a message.
    enum Fate: String, Sendable, CaseIterable {
        case accepted, rejected, released
        /// The peer may have got it.
        case unsettled
        /// The peer has not got it.
        case unsent
        /// It was sent settled, and has been written: nobody promises more.
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
    /// How many have a fate.
    func count(_ fate: Fate) -> Int { self.state.withLock { $0.counts[fate] ?? 0 } }
    /// What must not be: a message with two fates, or with one that tells nothing.
    var faults: [String] { self.state.withLock { $0.faults } }
    /// Why messages were not settled.
    var errors: [AMQPError] { self.state.withLock { $0.errors } }
    var isComplete: Bool { self.state.withLock { $0.offered == $0.fates.count } }
    var sums: MessageSums {
        self.state.withLock { MessageSums(offered: $0.offered, counts: $0.counts) }
    }

    /// Offers a message to a sender, and keeps what becomes of it.
    ///
    /// - Returns: The transfer; nil if the message was refused.
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
                return state.faults.append("message \(number): its fate is not told: \(String(describing: error))")
            }
            state.counts[fate, default: 0] += 1
            if let other = state.fates.updateValue(fate, forKey: number) {
                state.faults.append("message \(number): \(other), and then \(fate)")
            }
        }
    }

    /// Compares with what the receiver's application has done, and returns what does not agree.
    func disagreements(with receiver: ReadController) -> [String] {
        let (got, fates) = (receiver.decisions, self.fates)
        var found = self.faults
        if !self.isComplete { found.append("\(self.offered) offered, and the fate of \(fates.count) is told") }
        for (number, fate) in fates {
            switch fate {
            case .unsettled, .settled: break
            case .unsent: if got[number] != nil { found.append("message \(number): unsent, and has come") }
            case .accepted, .rejected, .released:
                // A message that came twice would be a fault of the receiver's account.
                if got[number] != fate {
                    found.append("message \(number): \(fate), and the receiver: \(got[number]?.rawValue ?? "nothing")")
                }
            }
        }
        return found + receiver.faults
    }
}

/// What a receiver's application got and decided.
final class ReadController: Sendable {
    private struct State {
        var decisions: [Int: SendAccount.Fate] = [:]
        var faults: [String] = []
    }

    private let state = Mutex(State())

    var decisions: [Int: SendAccount.Fate] { self.state.withLock { $0.decisions } }
    var faults: [String] { self.state.withLock { $0.faults } }

    /// Decides about a message by its number, and keeps the decision before it is told.
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
                state.faults.append("message \(number) came twice")
            }
        }
        switch decision {
        case .rejected: delivery.reject(AMQPError(scope: .delivery, condition: .notAllowed, detail: "not that one"))
        case .released: delivery.release()
        default: delivery.accept()
        }
    }
}

/// Fates counted.
struct MessageSums: Hashable, Sendable, CustomStringConvertible {
    var offered = 0
    var counts: [SendAccount.Fate: Int] = [:]

    /// Whether every message that was offered has one fate.
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
    /// A message that carries its number, and so many bytes besides.
    init(number: Int, padding: Int = 0) {
        self.init(body: "\(number) " + String(repeating: "x", count: padding))
    }
}

extension AMQPDelivery {
    /// The number that the message carries; negative for none.
    var number: Int {
        let body = (try? self.decodeMessage().bodyString) ?? ""
        return body.split(separator: " ").first.flatMap { Int($0) } ?? -1
    }
}
