internal import CProton

enum ProtonDelivery {
    /// Drops what has come of the current delivery of a receiving link. Returns the delivery when nothing more comes of it: it is
    /// to be settled, or advanced past.
    static func dropCurrent(of link: OpaquePointer) -> OpaquePointer? {
        guard let delivery = pn_link_current(link) else { return nil }
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 1) { room in
            while pn_link_recv(link, room.bindMemory(to: CChar.self).baseAddress, room.count) > 0 {}
        }
        return pn_delivery_partial(delivery) && !pn_delivery_aborted(delivery) ? nil : delivery
    }
}
