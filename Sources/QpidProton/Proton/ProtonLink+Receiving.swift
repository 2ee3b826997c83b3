// SPDX-License-Identifier: Apache-2.0

internal import CProton

// The receiving side of a link.

extension ProtonLink {
    /// The peer's credit in the peer's own count; negative if the peer has exceeded its credit. Proton does not refuse
    /// the excess (P21), and reports the rest as credit for four billion messages.
    var remoteCredit: Int { Int(pn_link_remote_credit(self.pointer)) }

    /// Grants credit above zero, because Proton reads -1 as four billion messages (P4).
    ///
    /// Grant no credit before the peer's attach: until then its delivery-count is unknown, and Proton sends 0. A peer
    /// with another count would count the difference as credit.
    @inline(__always) func grant(_ credit: Int) { pn_link_flow(self.pointer, Int32(credit)) }

    /// Requests that the peer uses or returns its credit. A grant before the answer cancels the drain (P44).
    func drain() { pn_link_drain(self.pointer, 0) }

    /// Whether a drain is unanswered.
    var isAwaitingDrain: Bool { pn_link_draining(self.pointer) }

    /// Returns the credit that the peer has returned since the last call.
    func takeReturnedCredit() -> Int { Int(pn_link_drained(self.pointer)) }

    /// Reads bytes of the current delivery. Returns their number; 0 for an aborted delivery (P29).
    @inline(__always)
    func receive(into room: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        max(0, pn_link_recv(self.pointer, room?.assumingMemoryBound(to: CChar.self), count))
    }

    /// Drops the received bytes of the current delivery. Returns the delivery if no more bytes follow. The caller must
    /// then settle it, or advance past it.
    func dropCurrent() -> ProtonDelivery? { ProtonDelivery.dropCurrent(of: self.pointer) }
}
