// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension SenderEndpoint {
    /// The remaining credit, without the messages in Proton; negative if the peer has revoked more than was left.
    ///
    var credit: Int {
        LinkCredit.left(
            self.link.credit,
            of: self.status.granted.load(ordering: .relaxed)
        )
    }

    /// The answer to the peer's request for the state of the link; `nil` unless both sides have attached it.
    var flowState: FlowFrame.Sender? {
        guard self.isAttached, let lane = self.lane else { return nil }
        // Proton counts a message when the link advances. The peer counts the message once it is framed.
        let credit = self.credit + self.link.queuedCount
        return FlowFrame.Sender(
            credit: UInt32(clamping: credit),
            available: UInt32(clamping: lane.waiting.count),
            isDraining: self.link.isDraining
        )
    }
}
