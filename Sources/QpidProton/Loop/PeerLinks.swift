/// The links that the peer has attached in one session, and the frames on them that Proton 0.37 cannot bear.
///
/// Proton frees memory twice when a link is attached on a handle in use, ends the process when a message of several
/// transfers begins without a delivery-id, and takes a transfer on a link on which this side sends for one of its own.
struct PeerLinks {
    private struct Link {
        /// The peer receives on it.
        let isReceiving: Bool
        /// The peer has begun a message and not ended it.
        var isInMessage = false
        /// It is one of ``active``.
        var isActive = false
        /// How many flows named it since something arrived on it.
        var namings = 0
    }

    /// A link leaves the active ones when this many flows named it and nothing arrived on it: others may have used up the window
    /// before it.
    private static let mostNamings = 3

    /// What becomes of an active link that was visited.
    enum Visit {
        /// A flow names it: it goes behind the others.
        case named
        /// It keeps its place.
        case kept
        /// It leaves the active links until something arrives on it again.
        case left
    }

    private var links: [UInt32: Link] = [:]
    /// The handle of the last transfer, when that ended a message: most messages follow one of the same link.
    private var last: UInt32?
    /// The links in the middle of a message, and those on which something arrived lately, in the order in which flows are to name
    /// them.
    private(set) var active: [UInt32] = []
    /// The next-incoming-id at which an active link may need a flow that names it: see ``PeerSession/renew(at:namesLinks:_:)``.
    var wakeID: UInt32 = .max

    var count: Int { self.links.count }

    /// Whether the peer has begun a message on a link and not ended it.
    func isInMessage(_ handle: UInt32) -> Bool { self.links[handle]?.isInMessage == true }

    mutating func attach(_ attach: FrameHeader.Attach) -> AMQPError? {
        let handle = attach.handle
        // Proton would cut it short there, and answer another name than was asked for.
        guard !attach.name.utf8.contains(0) else {
            return AMQPError(
                scope: .connection,
                condition: .invalidField,
                detail: "the peer attached a link whose name has a NUL character"
            )
        }
        // Proton takes larger ones for links that are not attached.
        guard handle <= UInt32(Int32.max) else {
            return AMQPError(
                scope: .connection,
                condition: .invalidField,
                detail: "the peer attached a link with the handle \(handle)"
            )
        }
        guard self.links.updateValue(Link(isReceiving: attach.isReceiver), forKey: handle) == nil else {
            let text = "the peer attached a link with the handle \(handle), which is in use"
            return AMQPError(scope: .connection, condition: .sessionHandleInUse, detail: text)
        }
        return nil
    }

    /// Returns whether there was one.
    mutating func detach(_ handle: UInt32) -> Bool {
        self.last = nil
        guard let link = self.links.removeValue(forKey: handle) else { return false }
        if link.isActive { self.active.removeAll { $0 == handle } }
        return true
    }

    /// - Parameter nextID: The id that the transfer behind this one has.
    mutating func transfer(_ transfer: FrameHeader.Transfer, nextID: UInt32) -> AMQPError? {
        if transfer.handle == self.last, !transfer.hasMore { return nil }
        // Proton refuses the transfers of links that are not attached.
        guard let link = self.links[transfer.handle] else { return nil }
        if link.isReceiving {
            let text = "the peer sent a transfer on the handle \(transfer.handle), on which it receives"
            return AMQPError(scope: .connection, condition: .notAllowed, detail: text)
        }
        if transfer.hasMore, transfer.deliveryID == nil, !link.isInMessage {
            let text = "the peer began a message of several transfers without a delivery-id"
            return AMQPError(scope: .connection, condition: .invalidField, detail: text)
        }
        let isInMessage = transfer.hasMore && !transfer.mayBeAborted
        self.last = isInMessage ? nil : transfer.handle
        guard isInMessage != link.isInMessage || !link.isActive || link.namings > 0 else { return nil }
        if !link.isActive {
            self.active.append(transfer.handle)
            self.wakeID = nextID
        }
        self.links[transfer.handle] = Link(isReceiving: false, isInMessage: isInMessage, isActive: true)
        return nil
    }

    // MARK: Whose turn it is

    func isActive(_ handle: UInt32) -> Bool { self.links[handle]?.isActive == true }

    /// The first active link in the middle of a message, or else the first on which something arrived since a flow named it.
    var nextActive: UInt32? {
        self.active.first { self.links[$0]?.isInMessage == true } ?? self.active.first { self.links[$0]?.namings == 0 }
    }

    /// Visits the active links in turn. `visit` gets the handle, and whether the link is in the middle of a message.
    mutating func visitActive(_ visit: (UInt32, _ isInMessage: Bool) -> Visit) {
        guard !self.active.isEmpty else { return }
        var kept: [UInt32] = []
        var named: [UInt32] = []
        kept.reserveCapacity(self.active.count)
        for handle in self.active {
            guard var link = self.links[handle] else { continue }
            switch visit(handle, link.isInMessage) {
            case .kept:
                kept.append(handle)
                continue
            case .named:
                if !link.isInMessage { link.namings += 1 }
                link.isActive = link.namings < Self.mostNamings
                if link.isActive { named.append(handle) }
            case .left:
                link.isActive = false
            }
            self.links[handle] = link
            // The next transfer on it is to be seen.
            if self.last == handle { self.last = nil }
        }
        self.active = kept + named
    }
}
