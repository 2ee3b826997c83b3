internal import NIOCore
internal import Synchronization

/// What the flows of both sides say of the links of one session.
///
/// A flow names a link by the handle of who sends it. The two handles of a link belong together by the name and the role in
/// the attaches of both sides; Proton 0.37 shows neither handle.
struct LinkFlows {
    /// A link as one side has attached it.
    private struct Name: Hashable {
        private let compared: Bytewise<String>
        let isReceiver: Bool

        init(name: String, isReceiver: Bool) {
            self.compared = Bytewise(name)
            self.isReceiver = isReceiver
        }

        var name: String { self.compared.text }

        var ofOtherSide: Name { Name(name: self.name, isReceiver: !self.isReceiver) }
    }

    /// A link as the peer has attached it.
    private struct PeerLink {
        let name: Name
        var available: UInt32?
        var properties: AMQPMap = [:]
        var deliveryCount: UInt32 = 0
        /// The first delivery-count for which there is no credit.
        var limit: UInt32 = 0
        var linkCredit: UInt32 = 0
        /// What tasks see of the link, once it is known.
        var status: LinkStatus?
        var isEchoDue = false

        /// The count that it began with; nil where that is not known.
        let initialCount: UInt32?

        init(_ attach: TappedFrame.Attach) {
            self.name = Name(name: attach.name, isReceiver: attach.isReceiver)
            self.initialCount = attach.initialDeliveryCount
            self.deliveryCount = self.initialCount ?? 0
        }

        func publish(propertiesToo: Bool) {
            self.status?.available.store(self.available.map { Int($0) } ?? -1, ordering: .relaxed)
            self.status?.granted.store(self.linkCredit, ordering: .relaxed)
            if propertiesToo { self.status?.flowProperties.withLock { $0 = self.properties } }
        }
    }

    /// A link as this side has attached it, with what its last flow said.
    private struct OwnLink {
        let handle: UInt32
        var deliveryCount: UInt32 = 0
        var linkCredit: UInt32 = 0
        var isDraining = false
        /// The count that the peer began with is not known, and with it what the credit was granted for.
        var isUnknown = false

        mutating func begin(_ count: UInt32?) {
            self.deliveryCount = count ?? 0
            self.isUnknown = count == nil
        }
    }

    private var peers: [UInt32: PeerLink] = [:]
    private var peerHandles: [Name: UInt32] = [:]
    private var own: [Name: OwnLink] = [:]
    private var ownNames: [UInt32: Name] = [:]

    /// The links that this side has attached.
    var ownCount: Int { self.ownNames.count }

    // MARK: The peer's frames

    mutating func peerSent(_ attach: TappedFrame.Attach) {
        let link = PeerLink(attach)
        self.peers[attach.handle] = link
        self.peerHandles[link.name] = attach.handle
        // Proton counts credit that was granted before from here.
        if !attach.isReceiver { self.own[link.name.ofOtherSide]?.begin(link.initialCount) }
    }

    mutating func peerDetached(_ handle: UInt32) {
        guard let name = self.peers.removeValue(forKey: handle)?.name, self.peerHandles[name] == handle else { return }
        self.peerHandles[name] = nil
    }

    mutating func peerSent(_ flow: TappedFrame.Flow) {
        guard let handle = flow.handle, var link = self.peers[handle] else { return }
        let properties = flow.properties ?? [:]
        let hasOtherProperties = properties != link.properties
        link.available = flow.available
        link.properties = properties
        link.deliveryCount = flow.deliveryCount ?? link.deliveryCount
        link.linkCredit = flow.linkCredit ?? 0
        link.limit = (flow.deliveryCount ?? 0) &+ link.linkCredit
        if flow.echo { link.isEchoDue = true }
        link.publish(propertiesToo: hasOtherProperties)
        self.peers[handle] = link
    }

    /// Shows what the peer says of a link to those who have it.
    ///
    /// - Parameter isReceiver: Whether this side receives on it.
    mutating func observe(_ status: LinkStatus, isReceiver: Bool) {
        let name = Name(name: status.name, isReceiver: !isReceiver)
        guard let handle = self.peerHandles[name] else { return }
        self.peers[handle]?.status = status
        self.peers[handle]?.publish(propertiesToo: true)
    }

    // MARK: This side's frames

    mutating func sent(_ attach: TappedFrame.Attach) {
        let name = Name(name: attach.name, isReceiver: attach.isReceiver)
        var link = OwnLink(handle: attach.handle)
        if attach.isReceiver, let peer = self.peerHandles[name.ofOtherSide].flatMap({ self.peers[$0] }) {
            link.begin(peer.initialCount)
        }
        self.own[name] = link
        self.ownNames[attach.handle] = name
    }

    mutating func detached(_ handle: UInt32) {
        if let name = self.ownNames.removeValue(forKey: handle) { self.own[name] = nil }
    }

    mutating func sent(_ flow: TappedFrame.Flow) {
        guard let handle = flow.handle, let name = self.ownNames[handle] else { return }
        var link = OwnLink(handle: handle)
        link.deliveryCount = flow.deliveryCount ?? 0
        link.linkCredit = flow.linkCredit ?? 0
        link.isDraining = flow.drain
        self.own[name] = link
    }

    // MARK: Echoes

    /// The state of the links of which the peer asked for it.
    ///
    /// - Parameter sender: What this side's sender of a name has.
    mutating func takeEchoes(_ sender: (String) -> FlowFrame.Sender?) -> [FlowFrame.Link] {
        var links: [FlowFrame.Link] = []
        for (handle, peer) in self.peers where peer.isEchoDue {
            self.peers[handle]?.isEchoDue = false
            guard let own = self.own[peer.name.ofOtherSide] else { continue }
            if peer.name.isReceiver {
                guard let sender = sender(peer.name.name) else { continue }
                // Proton does not show its delivery-count: it is what is missing to the peer's limit.
                links.append(
                    FlowFrame.Link(
                        handle: own.handle,
                        deliveryCount: peer.limit &- sender.credit,
                        linkCredit: sender.credit,
                        available: sender.available,
                        isDraining: sender.isDraining
                    )
                )
            } else if !own.isUnknown {
                // The limit that was told last: neither more credit nor less.
                let credit = Int32(bitPattern: own.deliveryCount &+ own.linkCredit &- peer.deliveryCount)
                links.append(
                    FlowFrame.Link(
                        handle: own.handle,
                        deliveryCount: peer.deliveryCount,
                        linkCredit: UInt32(max(0, credit)),
                        available: nil,
                        isDraining: own.isDraining
                    )
                )
            }
        }
        return links
    }
}
