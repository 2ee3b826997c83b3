// SPDX-License-Identifier: Apache-2.0

internal import CProton

// The sending side of a link. Proton queues all bytes without credit or window, scans the whole queue on each output
// (P40), and delays the detach (P8). Pass only bytes that Proton can send.

extension ProtonLink {
    /// The remaining credit. Proton's count is unsigned (P4, P17), so the number is huge if the peer has revoked more
    /// credit than was left.
    @inline(__always) var credit: UInt32 { UInt32(bitPattern: pn_link_credit(self.pointer)) }

    /// The number of messages that have used credit and are not framed completely.
    var queuedCount: Int { Int(pn_link_queued(self.pointer)) }

    /// Starts a message. The tag has at most 32 bytes, which Proton does not check (P34).
    ///
    /// - Returns: The delivery, which is now the current delivery; `nil` if Proton has no memory.
    @inline(__always)
    func beginDelivery(tag: UnsafeRawBufferPointer) -> ProtonDelivery? {
        pn_delivery(self.pointer, pn_dtag(tag.baseAddress?.assumingMemoryBound(to: CChar.self), tag.count))
            .map { ProtonDelivery(pointer: $0) }
    }

    /// Appends bytes to the current delivery.
    @inline(__always)
    func send(_ bytes: UnsafeRawBufferPointer) {
        pn_link_send(self.pointer, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }

    /// Ends the current delivery as settled. No outcome follows, and its tag becomes free.
    @inline(__always)
    func advanceSettled() {
        let delivery = self.current
        self.advance()
        delivery?.settle()
    }

    /// Whether the peer has requested a drain of its credit.
    @inline(__always) var isDraining: Bool { pn_link_get_drain(self.pointer) }

    /// Returns all credit. Call it between messages only: within a message, the delivery-counts of the two sides would
    /// diverge (P10c).
    func returnCredit() { pn_link_drained(self.pointer) }
}
