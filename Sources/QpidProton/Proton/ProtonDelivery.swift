// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// A view of one `pn_delivery_t`. It is valid until the next event. While this side has not settled the delivery, it is
/// valid until the settlement.
///
/// Proton reuses a delivery that both sides have settled (P11, P47), so do not store a view longer, and identify
/// deliveries by keys.
struct ProtonDelivery: BitwiseCopyable, Equatable {
    let pointer: OpaquePointer

    // MARK: The peer's transfers and states

    /// Whether the peer has sent a state, or settled, since ``clearUpdate()``.
    @inline(__always) var isUpdated: Bool { pn_delivery_updated(self.pointer) }
    @inline(__always) func clearUpdate() { pn_delivery_clear(self.pointer) }

    @inline(__always) var isRemotelySettled: Bool { pn_delivery_settled(self.pointer) }

    /// Whether more bytes follow, unless the delivery was aborted.
    @inline(__always) var isPartial: Bool { pn_delivery_partial(self.pointer) }

    /// Whether the sender has aborted the delivery. Its credit is used, and the number of pending bytes is wrong (P29).
    @inline(__always) var isAborted: Bool { pn_delivery_aborted(self.pointer) }

    /// The number of received and unread bytes.
    @inline(__always) var pendingBytes: Int { Int(pn_delivery_pending(self.pointer)) }

    /// The tag in the memory of Proton, valid until the settlement; empty before the first transfer.
    @inline(__always) var tag: UnsafeRawBufferPointer {
        let tag = pn_delivery_tag(self.pointer)
        return UnsafeRawBufferPointer(start: tag.start, count: tag.start == nil ? 0 : tag.size)
    }

    // MARK: Context

    /// The context of a sender's delivery: an object that must be removed before the settlement.
    @inline(__always) var context: UnsafeMutableRawPointer? { pn_delivery_get_context(self.pointer) }

    @inline(__always) func setContext(_ context: UnsafeMutableRawPointer) {
        pn_delivery_set_context(self.pointer, context)
    }

    /// Removes and returns the context. A second call returns `nil`.
    @inline(__always) func takeContext() -> UnsafeMutableRawPointer? {
        guard let context = self.context else { return nil }
        pn_delivery_set_context(self.pointer, nil)
        return context
    }

    /// The key of a receiver's delivery; 0 without a key. The key may be out of date, because ``settle()`` does not
    /// clear it. Proton clears it only when it reuses the delivery.
    @inline(__always) var key: UInt { UInt(bitPattern: pn_delivery_get_context(self.pointer)) }

    @inline(__always) func setKey(_ key: UInt) {
        pn_delivery_set_context(self.pointer, UnsafeMutableRawPointer(bitPattern: key))
    }

    // MARK: Ends

    /// Settles the delivery. The settlement of the current delivery advances its link once, so do not advance again.
    /// Read an incomplete delivery first, or its bytes stay in the session's window until the session ends (P3): see
    /// ``ProtonLink/dropCurrent()``.
    @inline(__always)
    func settle() {
        self.checkContext()
        pn_delivery_settle(self.pointer)
    }

    /// Aborts the message that is being sent, settles it and advances its link. Proton frames an abort as a transfer.
    /// Without credit or window it delays the abort, and the link's detach behind it (P8).
    func abort() {
        self.checkContext()
        pn_delivery_abort(self.pointer)
    }

    /// Checks that the context is removed. An event may name the delivery until Proton has framed the settlement, so a
    /// context could be used twice.
    @inline(__always)
    private func checkContext() {
        assert(pn_link_is_receiver(pn_delivery_link(self.pointer)) || self.context == nil, "take the context first")
    }

    /// Drops the received bytes of a receiving link's current delivery. Returns the delivery if no more bytes follow.
    static func dropCurrent(of link: OpaquePointer) -> ProtonDelivery? {
        guard let delivery = pn_link_current(link).map({ ProtonDelivery(pointer: $0) }) else { return nil }
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 1) { room in
            while pn_link_recv(link, room.bindMemory(to: CChar.self).baseAddress, room.count) > 0 {}
        }
        return delivery.isPartial && !delivery.isAborted ? nil : delivery
    }
}

/// The deliveries of a link that this side has not settled, oldest first. The visitor may settle each delivery.
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
