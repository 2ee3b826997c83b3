internal import CProton

// The receiving side of a link.

extension ProtonLink {
    /// The credit that the peer has, as it counts; negative where it has sent more than it was granted. Proton does not refuse that
    /// (P21), and tells what is left as credit for four billion messages.
    var remoteCredit: Int { Int(pn_link_remote_credit(self.pointer)) }

    /// Grants credit: more than none, because Proton takes -1 for four billion messages (P4).
    ///
    /// Not before the peer has attached: until then its delivery-count is not known, and Proton tells 0. A peer that begins
    /// elsewhere would take the difference for credit.
    @inline(__always) func grant(_ credit: Int) { pn_link_flow(self.pointer, Int32(credit)) }

    /// Asks the peer to use the credit or to give it back. Credit that is granted before it answers cancels the drain (P44).
    func drain() { pn_link_drain(self.pointer, 0) }

    /// The peer has not answered a drain.
    var isAwaitingDrain: Bool { pn_link_draining(self.pointer) }

    /// The credit that the peer has given back since the last call.
    func takeReturnedCredit() -> Int { Int(pn_link_drained(self.pointer)) }

    /// Reads bytes of the current delivery. Returns how many: none of one that was aborted (P29).
    @inline(__always)
    func receive(into room: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        max(0, pn_link_recv(self.pointer, room?.assumingMemoryBound(to: CChar.self), count))
    }

    /// Drops what has come of the current delivery. Returns the delivery when nothing more comes of it: it is to be settled, or
    /// advanced past.
    func dropCurrent() -> ProtonDelivery? { ProtonDelivery.dropCurrent(of: self.pointer) }
}
