// SPDX-License-Identifier: Apache-2.0

/// The decisions about a receiver's messages that the peer has certainly read.
///
/// The peer reads in order. A message for credit of a later write proves that the peer has read the decisions of
/// earlier writes. The answer to a drain proves the same. Source: AMQP 1.0 §2.6.7.
struct DecisionProof {
    /// An unused grant of credit.
    private struct Grant {
        /// The number of messages that may arrive without this grant.
        let messages: UInt64
        /// The number of decisions that the peer reads before this grant.
        let decisions: Int
    }

    /// The number of decisions that Proton has received.
    private(set) var sent = 0
    /// The number of these decisions that the peer has certainly read.
    private(set) var proven = 0
    /// The write with the latest decision, and the number of decisions in the writes before.
    private var write = 0
    private var sentBefore = 0
    private var grant: Grant?
    private var laterGrant: Grant?
    private var sentBeforeDrain = 0

    /// The number of decisions without proof.
    var unproven: Int { self.sent - self.proven }

    /// Counts a decision that a write carries.
    @inline(__always)
    mutating func send(_ write: Int) {
        if write != self.write { (self.write, self.sentBefore) = (write, self.sent) }
        self.sent += 1
    }

    /// Returns the number of decisions that are sent before a write. Proton frames flows before the decisions of the
    /// same write.
    private func sent(before write: Int) -> Int { write == self.write ? self.sentBefore : self.sent }

    /// Records a grant of credit.
    ///
    /// - Parameters:
    ///   - messages: The number of the last message that may arrive without this grant.
    ///   - write: The write that carries the flow.
    mutating func granted(after messages: UInt64, _ write: Int) {
        let grant = Grant(messages: messages, decisions: self.sent(before: write))
        guard grant.decisions > self.proven else { return }
        // The first and the last of many unused grants are enough.
        if self.grant == nil { self.grant = grant } else { self.laterGrant = grant }
    }

    /// Proves decisions by messages that have arrived.
    ///
    /// - Parameter messages: The number of the last message.
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

    /// Records the request of a drain with a write.
    mutating func drains(_ write: Int) { self.sentBeforeDrain = self.sent(before: write) }

    /// Proves decisions by the peer's answer to the drain.
    mutating func drained() { self.prove(self.sentBeforeDrain) }

    private mutating func prove(_ decisions: Int) { self.proven = max(self.proven, decisions) }
}
