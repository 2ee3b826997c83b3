internal import CProton

/// A view of one `pn_delivery_t`. Valid until the next event, or until it is settled where this side keeps it unsettled.
///
/// Proton makes the next delivery of one that is settled on both sides, in the same place (P11, P47): keep no view longer, and
/// tell deliveries apart by keys.
struct ProtonDelivery: BitwiseCopyable, Equatable {
    let pointer: OpaquePointer

    // MARK: What the peer has sent

    /// The peer has sent a state, or settled, since ``clearUpdate()``.
    @inline(__always) var isUpdated: Bool { pn_delivery_updated(self.pointer) }
    @inline(__always) func clearUpdate() { pn_delivery_clear(self.pointer) }

    @inline(__always) var isRemotelySettled: Bool { pn_delivery_settled(self.pointer) }

    /// More of it comes, unless it was aborted.
    @inline(__always) var isPartial: Bool { pn_delivery_partial(self.pointer) }

    /// The sender gave it up. Its credit is used, and the pending bytes are wrong (P29).
    @inline(__always) var isAborted: Bool { pn_delivery_aborted(self.pointer) }

    /// The bytes that have come and were not read.
    @inline(__always) var pendingBytes: Int { Int(pn_delivery_pending(self.pointer)) }

    /// The tag, in the memory of Proton: it goes when the delivery is settled. Empty before its first transfer has come.
    @inline(__always) var tag: UnsafeRawBufferPointer {
        let tag = pn_delivery_tag(self.pointer)
        return UnsafeRawBufferPointer(start: tag.start, count: tag.start == nil ? 0 : tag.size)
    }

    // MARK: Context

    /// The context of a delivery of a sender: something that has to be taken before the delivery is settled.
    @inline(__always) var context: UnsafeMutableRawPointer? { pn_delivery_get_context(self.pointer) }

    @inline(__always) func setContext(_ context: UnsafeMutableRawPointer) {
        pn_delivery_set_context(self.pointer, context)
    }

    /// Takes the context, once: whoever asks again finds none.
    @inline(__always) func takeContext() -> UnsafeMutableRawPointer? {
        guard let context = self.context else { return nil }
        pn_delivery_set_context(self.pointer, nil)
        return context
    }

    /// The key of a delivery of a receiver; 0 where none was set. It may find nothing any more: ``settle()`` leaves it, and Proton
    /// clears it when it recycles the delivery.
    @inline(__always) var key: UInt { UInt(bitPattern: pn_delivery_get_context(self.pointer)) }

    @inline(__always) func setKey(_ key: UInt) {
        pn_delivery_set_context(self.pointer, UnsafeMutableRawPointer(bitPattern: key))
    }

    // MARK: Ends

    /// Settles the delivery. Settling the current one advances its link, once: do not advance behind it. One that has not come to
    /// its end must be read first, or its bytes stay in the session's window for good (P3): see ``ProtonLink/dropCurrent()``.
    @inline(__always)
    func settle() {
        self.checkContext()
        pn_delivery_settle(self.pointer)
    }

    /// Aborts the message that is being sent, settles it and advances its link. Proton frames an abort as a transfer: without
    /// credit or window it keeps it, and the link's detach behind it (P8).
    func abort() {
        self.checkContext()
        pn_delivery_abort(self.pointer)
    }

    /// An event may name the delivery until Proton has framed the settlement: a context would be taken twice.
    @inline(__always)
    private func checkContext() {
        assert(pn_link_is_receiver(pn_delivery_link(self.pointer)) || self.context == nil, "take the context first")
    }

    /// Drops what has come of the current delivery of a receiving link. Returns the delivery when nothing more comes of it.
    static func dropCurrent(of link: OpaquePointer) -> ProtonDelivery? {
        guard let delivery = pn_link_current(link).map({ ProtonDelivery(pointer: $0) }) else { return nil }
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 1) { room in
            while pn_link_recv(link, room.bindMemory(to: CChar.self).baseAddress, room.count) > 0 {}
        }
        return delivery.isPartial && !delivery.isAborted ? nil : delivery
    }
}

/// The deliveries of a link that this side has not settled, oldest first. Each may be settled while it is visited.
struct UnsettledDeliveries: Sequence, IteratorProtocol {
    private var following: OpaquePointer?

    init(of link: OpaquePointer) {
        self.following = pn_unsettled_head(link)
    }

    mutating func next() -> ProtonDelivery? {
        guard let current = self.following else { return nil }
        self.following = pn_unsettled_next(current)
        return ProtonDelivery(pointer: current)
    }
}
