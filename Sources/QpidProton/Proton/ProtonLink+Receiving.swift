// SPDX-License-Identifier: Apache-2.0

internal import CProton

// The receiving side of a link.

extension ProtonLink {
    /// The peer's credit in its own count; negative if it has exceeded the credit. Proton does not refuse that (P21),
    /// and reports the rest as credit for four billion messages.
    var remoteCredit: Int { Int(pn_link_remote_credit(self.pointer)) }

    /// Grants credit above zero, because Proton reads -1 as four billion messages (P4).
    ///
    /// Not before the peer's attach: until then its delivery-count is unknown, and Proton sends 0. A peer with another
    /// count would take the difference for credit.
    @inline(__always) func grant(_ credit: Int) { pn_link_flow(self.pointer, Int32(credit)) }

    /// Asks the peer to use the credit or to return it. A grant before the answer cancels the drain (P44).
    func drain() { pn_link_drain(self.pointer, 0) }

    /// Whether a drain is unanswered.
    var isAwaitingDrain: Bool { pn_link_draining(self.pointer) }

    /// Returns the credit that the peer has returned since the last call.
    func takeReturnedCredit() -> Int { Int(pn_link_drained(self.pointer)) }

    /// Reads bytes of the current delivery. Returns their number: none for an aborted one (P29).
    @inline(__always)
    func receive(into room: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        max(0, pn_link_recv(self.pointer, room?.assumingMemoryBound(to: CChar.self), count))
    }

    /// Drops the received bytes of the current delivery. Returns the delivery if no more bytes follow: it must then be
    /// settled, or advanced past.
    func dropCurrent() -> ProtonDelivery? { ProtonDelivery.dropCurrent(of: self.pointer) }
}
