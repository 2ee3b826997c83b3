/// The links that the peer has attached in one session, and the frames on them that Proton 0.37 cannot bear.
///
/// Proton frees memory twice when a link is attached on a handle in use, ends the process when a message of several
/// transfers begins without a delivery-id, and takes a transfer on a link on which this side sends for one of its own.
struct PeerLinks {
    private enum Link { case receiving, sending, inMessage }

    private var links: [UInt32: Link] = [:]
    /// The handle of the last transfer, when that ended a message: most messages follow one of the same link.
    private var last: UInt32?

    var count: Int { self.links.count }

    mutating func attach(_ attach: TappedFrame.Attach) -> AMQPError? {
        let handle = attach.handle
        // Proton would cut it short there, and answer another name than was asked for.
        guard !attach.name.utf8.contains(0) else {
            return AMQPError(.connection, .invalidField, "the peer attached a link whose name has a NUL character")
        }
        // Proton takes larger ones for links that are not attached.
        guard handle <= UInt32(Int32.max) else {
            return AMQPError(.connection, .invalidField, "the peer attached a link with the handle \(handle)")
        }
        guard self.links.updateValue(attach.isReceiver ? .receiving : .sending, forKey: handle) == nil else {
            let text = "the peer attached a link with the handle \(handle), which is in use"
            return AMQPError(.connection, .sessionHandleInUse, text)
        }
        return nil
    }

    /// Returns whether there was one.
    mutating func detach(_ handle: UInt32) -> Bool {
        self.last = nil
        return self.links.removeValue(forKey: handle) != nil
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
        if isInMessage != (link == .inMessage) { self.links[transfer.handle] = isInMessage ? .inMessage : .sending }
        return nil
    }
}
