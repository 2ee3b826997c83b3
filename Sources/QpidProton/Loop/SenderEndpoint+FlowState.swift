internal import Synchronization

extension SenderEndpoint {
    /// The credit that is left of what the peer granted, without the messages that were handed to Proton; negative where the
    /// peer has taken back more than was left.
    ///
    var credit: Int {
        LinkCredit.left(
            self.link.credit,
            of: self.status.granted.load(ordering: .relaxed)
        )
    }

    /// What the peer is told when it asks for the state of the link; `nil` when there is none.
    var flowState: FlowFrame.Sender? {
        guard self.isAttached, let lane = self.lane else { return nil }
        // Proton counts a message off the credit when it is handed over, and the peer when it is framed.
        let credit = self.credit + self.link.queuedCount
        return FlowFrame.Sender(
            credit: UInt32(clamping: credit),
            available: UInt32(clamping: lane.waiting.count),
            isDraining: self.link.isDraining
        )
    }
}
