internal import CProton

// The sending side of a link. Proton queues without limit what has no credit or window, looks through all of it on each output
// (P40), and holds the detach up for it (P8): hand over only what can leave.

extension ProtonLink {
    /// The credit that is left. Proton keeps no sign of it (P4, P17): where the peer took back more than was left, it is huge.
    @inline(__always) var credit: UInt32 { UInt32(bitPattern: pn_link_credit(self.pointer)) }

    /// The messages that have used credit, and that are not framed to their end.
    var queuedCount: Int { Int(pn_link_queued(self.pointer)) }

    /// Begins a message. The tag has 32 bytes at most, which Proton does not check (P34).
    ///
    /// - Returns: The delivery, now the current one; `nil` when Proton has no memory.
    @inline(__always)
    func beginDelivery(tag: UnsafeRawBufferPointer) -> ProtonDelivery? {
        pn_delivery(self.pointer, pn_dtag(tag.baseAddress?.assumingMemoryBound(to: CChar.self), tag.count))
            .map { ProtonDelivery(pointer: $0) }
    }

    /// Hands bytes of the current delivery over.
    @inline(__always)
    func send(_ bytes: UnsafeRawBufferPointer) {
        pn_link_send(self.pointer, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }

    /// Ends the current delivery as settled: no outcome follows, and its tag is free at once.
    @inline(__always)
    func advanceSettled() {
        let delivery = self.current
        self.advance()
        delivery?.settle()
    }

    /// The peer wants the credit used or given back.
    @inline(__always) var isDraining: Bool { pn_link_get_drain(self.pointer) }

    /// Gives all credit back. Between messages: in the middle of one the delivery-counts of the two sides part (P10c).
    func returnCredit() { pn_link_drained(self.pointer) }
}
