// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization

/// Counts the outcomes of sent messages.
final class OutcomeAccount: Sendable {
    private let counts = Mutex((sent: 0, accepted: 0, other: [String]()))

    var sent: Int { self.counts.withLock { $0.sent } }
    var accepted: Int { self.counts.withLock { $0.accepted } }
    /// The outcomes and errors other than `accepted`.
    var other: [String] { self.counts.withLock { $0.other } }
    var isComplete: Bool { self.counts.withLock { $0.sent == $0.accepted + $0.other.count } }

    func add(_ transfer: AMQPTracker) {
        self.counts.withLock { $0.sent += 1 }
        transfer.whenSettled { result in
            self.counts.withLock { counts in
                if result == .success(.accepted) {
                    counts.accepted += 1
                } else {
                    counts.other.append("\(result)")
                }
            }
        }
    }
}
