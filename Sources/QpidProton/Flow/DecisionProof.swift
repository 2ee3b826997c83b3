// SPDX-License-Identifier: Apache-2.0

/// Tracks the decisions about a receiver's messages that the peer has certainly read.
///
/// The peer reads in order. A message for credit of a later write proves that the peer has read the decisions of
/// earlier writes. So does the answer to a drain. Source: AMQP 1.0 §2.6.7.
struct DecisionProof {
    /// An unused grant of credit.
    private struct Grant {
        /// The number of messages that may arrive without it.
        let messages: UInt64
        /// The decisions that the peer reads before it.
        let decisions: Int
    }

    /// The decisions in Proton and beyond.
    private(set) var sent = 0
    /// The decisions among them that the peer has certainly read.
    private(set) var proven = 0
    /// The write with the latest decision, and the decisions in the writes before it.
    private var write = 0
    private var sentBefore = 0
    private var grant: Grant?
    private var laterGrant: Grant?
    private var sentBeforeDrain = 0

    /// The decisions without proof.
    var unproven: Int { self.sent - self.proven }

    /// Counts a decision that leaves with a write.
    @inline(__always)
    mutating func send(_ write: Int) {
        if write != self.write { (self.write, self.sentBefore) = (write, self.sent) }
        self.sent += 1
    }

    /// Returns the decisions that leave before a write. Proton frames flows before the decisions of the same write.
    private func sent(before write: Int) -> Int { write == self.write ? self.sentBefore : self.sent }

    /// Credit is granted.
    ///
    /// - Parameters:
    ///   - messages: The number of the last message that may come without it.
    ///   - write: The write that carries the flow.
    mutating func granted(after messages: UInt64, _ write: Int) {
        let grant = Grant(messages: messages, decisions: self.sent(before: write))
        guard grant.decisions > self.proven else { return }
        // Of many unused grants, the first and the last are enough.
        if self.grant == nil { self.grant = grant } else { self.laterGrant = grant }
    }

    /// Messages have arrived.
    ///
    /// - Parameter messages: The number of the last one.
    @inline(__always)
    mutating func arrived(_ messages: UInt64) {
        if let grant = self.grant, messages > grant.messages { self.use(grant, messages) }
    }

    private mutating func use(_ grant: Grant, _ messages: UInt64) {
        self.prove(grant.decisions)
        self.grant = self.laterGrant
        self.laterGrant = nil
        self.arrived(messages)
    }

    /// A drain is requested with a write.
    mutating func drains(_ write: Int) { self.sentBeforeDrain = self.sent(before: write) }

    /// The peer has answered the drain.
    mutating func drained() { self.prove(self.sentBeforeDrain) }

    private mutating func prove(_ decisions: Int) { self.proven = max(self.proven, decisions) }
}
