/// The links that the peer has attached in one session, and the frames on them that Proton 0.37 cannot bear.
///
/// Proton frees memory twice when a link is attached on a handle in use, ends the process when a message of several
/// transfers begins without a delivery-id, and takes a transfer on a link on which this side sends for one of its own.
struct PeerLinks {
    private enum Link { case receiving, sending, inMessage }

    private var links: [UInt32: Link] = [:]
    /// The handle of the last transfer, when that ended a message: most messages follow one of the same link.
    private var last: UInt32?

    mutating func attach(_ handle: UInt32, isReceiver: Bool) -> AMQPError? {
        // Proton takes larger ones for links that are not attached.
        guard handle <= UInt32(Int32.max) else {
            return AMQPError(.connection, .invalidField, "the peer attached a link with the handle \(handle)")
        }
        guard self.links.updateValue(isReceiver ? .receiving : .sending, forKey: handle) == nil else {
            let text = "the peer attached a link with the handle \(handle), which is in use"
            return AMQPError(.connection, .sessionHandleInUse, text)
        }
        return nil
    }

    mutating func detach(_ handle: UInt32) {
        self.links[handle] = nil
        self.last = nil
    }

    mutating func transfer(_ transfer: TappedFrame.Transfer) -> AMQPError? {
        if transfer.handle == self.last, !transfer.hasMore { return nil }
        // Proton refuses the transfers of links that are not attached.
        guard let link = self.links[transfer.handle] else { return nil }
        if link == .receiving {
            let text = "the peer sent a transfer on the handle \(transfer.handle), on which it receives"
            return AMQPError(.connection, .notAllowed, text)
        }
        if transfer.hasMore, transfer.deliveryID == nil, link != .inMessage {
            let text = "the peer began a message of several transfers without a delivery-id"
            return AMQPError(.connection, .invalidField, text)
        }
        let isInMessage = transfer.hasMore && !transfer.mayBeAborted
        self.last = isInMessage ? nil : transfer.handle
        self.links[transfer.handle] = isInMessage ? .inMessage : .sending
        return nil
    }
}
