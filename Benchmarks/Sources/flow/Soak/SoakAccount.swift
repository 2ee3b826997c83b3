// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization

/// The fates of the messages that one side of a connection offered.
final class SoakAccount: Sendable {
    enum Fate: String, Sendable, CaseIterable {
        case accepted, rejected, released
        /// The message was sent settled and written.
        case settled
        /// The peer may have the message.
        case unsettled
        /// The peer does not have the message.
        case unsent
        /// The message was partly sent, and then aborted.
        case aborted
    }

    struct Sums: Sendable {
        var offered = 0
        var counts: [Fate: Int] = [:]
        /// The errors without a clear fate.
        var faults: [String] = []

        var addUp: Bool { self.faults.isEmpty && self.offered == self.counts.values.reduce(0, +) }

        static func += (left: inout Self, right: Self) {
            left.offered += right.offered
            left.counts.merge(right.counts, uniquingKeysWith: +)
            left.faults += right.faults
        }

        var text: String {
            let parts = Fate.allCases.map { "\(self.counts[$0] ?? 0) \($0)" }
            return "\(self.offered) offered = " + parts.joined(separator: " + ")
        }
    }

    private let state = Mutex(Sums())

    var sums: Sums { self.state.withLock { $0 } }

    /// Offers a message and records its fate. Returns `false` if the link has ended.
    @discardableResult
    func offer(_ send: () async throws(AMQPError) -> AMQPTracker) async -> Bool {
        self.state.withLock { $0.offered += 1 }
        do throws(AMQPError) {
            try await send().whenSettled { self.note($0) }
            return true
        } catch {
            self.note(error)
            return error.condition == .cancelled || error.condition == .wouldBlock
        }
    }

    /// Does the same for a call that waits for the outcome and may be cancelled.
    @discardableResult
    func offer(_ send: () async throws -> AMQPOutcome) async -> Bool {
        self.state.withLock { $0.offered += 1 }
        do {
            self.note(.success(try await send()))
            return true
        } catch let error as AMQPError {
            guard let transfer = error.tracker else {
                self.note(error)
                return error.condition == .cancelled
            }
            // The outcome can still arrive.
            transfer.whenSettled { self.note($0) }
            return true
        } catch {
            self.count(.aborted)
            return true
        }
    }

    private func note(_ result: Result<AMQPOutcome, AMQPError>) {
        switch result {
        case .success(.accepted): self.count(.accepted)
        case .success(.rejected): self.count(.rejected)
        case .success(.released), .success(.modified): self.count(.released)
        case .success(.settled): self.count(.settled)
        case .failure(let error): self.note(error)
        }
    }

    private func note(_ error: AMQPError) {
        if error.fate == .notSent {
            self.count(.unsent)
        } else if error.fate == .inDoubt {
            self.count(.unsettled)
        } else if error.fate == .aborted {
            self.count(.aborted)
        } else {
            self.state.withLock { $0.faults.append("an error reports no fate: \(error)") }
        }
    }

    private func count(_ fate: Fate) {
        self.state.withLock { $0.counts[fate, default: 0] += 1 }
    }
}
