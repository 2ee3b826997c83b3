// SPDX-License-Identifier: Apache-2.0

/// The links that the peer has attached in one session, and the guards for frames that Proton 0.37 mishandles.
///
/// Proton frees memory twice if a peer attaches a link on a handle in use. Proton ends the process if a message of
/// several transfers starts without a delivery-id. It treats a peer's transfer on a link of this side's sender as its
/// own.
struct PeerLinks {
    private struct Link {
        /// Whether the peer receives on the link.
        let isReceiving: Bool
        /// Whether a message of the peer is incomplete.
        var isInMessage = false
        /// Whether the link is one of ``active``.
        var isActive = false
        /// The number of flows that have named the link since the last arrival.
        var namings = 0
    }

    /// The number of flows without arrivals after which a link is no longer active, because other links may have used
    /// up the window.
    private static let mostNamings = 3

    /// The treatment of an active link after a visit.
    enum Visit {
        /// A flow names the link, which moves to the end.
        case named
        /// The link stays at its place.
        case kept
        /// The link is not active until the next arrival.
        case left
    }

    private var links: [UInt32: Link] = [:]
    /// The handle of the last transfer if it ended a message; most messages follow a message of the same link.
    private var last: UInt32?
    /// The links with an incomplete message or a recent arrival, in the order in which flows name them.
    private(set) var active: [UInt32] = []
    /// The next-incoming-id at which an active link may need a flow that names it: see ``PeerSession/renew(at:namesLinks:_:)``.
    var wakeID: UInt32 = .max

    var count: Int { self.links.count }

    /// Returns whether a message of the peer on a link is incomplete.
    func isInMessage(_ handle: UInt32) -> Bool { self.links[handle]?.isInMessage == true }

    mutating func attach(_ attach: FrameHeader.Attach) -> AMQPError? {
        let handle = attach.handle
        // Proton would cut the name at the zero byte, and answer a different name.
        guard !attach.name.utf8.contains(0) else {
            return AMQPError(
                scope: .connection,
                condition: .invalidField,
                detail: "the peer attached a link whose name has a NUL character"
            )
        }
        // Proton treats larger handles as unattached links.
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

    /// Removes a link. Returns whether the handle was in use.
    mutating func detach(_ handle: UInt32) -> Bool {
        self.last = nil
        guard let link = self.links.removeValue(forKey: handle) else { return false }
        if link.isActive { self.active.removeAll { $0 == handle } }
        return true
    }

    /// Records a transfer of the peer. Returns the error of a transfer that Proton must not read.
    ///
    /// - Parameter nextID: The id of the next transfer.
    mutating func transfer(_ transfer: FrameHeader.Transfer, nextID: UInt32) -> AMQPError? {
        if transfer.handle == self.last, !transfer.hasMore { return nil }
        // Proton refuses transfers on unattached links.
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

    // MARK: The order of active links

    func isActive(_ handle: UInt32) -> Bool { self.links[handle]?.isActive == true }

    /// The first active link with an incomplete message; if there is none, the first link with an arrival since its
    /// last flow.
    var nextActive: UInt32? {
        self.active.first { self.links[$0]?.isInMessage == true } ?? self.active.first { self.links[$0]?.namings == 0 }
    }

    /// Visits the active links in turn. `visit` receives the handle, and whether the link has an incomplete message.
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
            // The next transfer on this link must make it active again.
            if self.last == handle { self.last = nil }
        }
        self.active = kept + named
    }
}
